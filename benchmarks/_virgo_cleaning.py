"""Figures of Virgo's subtraction: of the oracle's in each band; harm; signals; channels; stream."""

import time
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from _table import Figure, this_machine
from physics_twins import virgo
from physics_twins.data import fraction, mean
from physics_twins.virgo import inputs, safety, selection, stream, vetoes
from physics_twins.virgo.evaluate import binary_range
from physics_twins.virgo.parameters import VetoParameters
from physics_twins.virgo.witnesses import VIBRATION

# Looked at for the figures alone, after all was chosen (on seeds 1 to 12 and 31 to 36).
EASY_SEEDS = tuple(range(1701, 1707))
HARD_SEEDS = tuple(range(1801, 1807))
TRAINED = {"easy": 0.75, "hard": 0.5}  # faults of the hard set come in both halves
SETS = {"easy": virgo.EASY, "hard": virgo.HARD}
SEEDS = {"easy": EASY_SEEDS, "hard": HARD_SEEDS}
N_INJECTIONS = 1000
# A stretch, with couplings of its own, in which signals are injected on purpose, to find the channels
# that carry strain.
SAFETY_SEED = 1800
_MANY: dict[str, Any] = {"n_signals": 24, "signal_snr": 50.0, "mass_1_msun": 20.0, "mass_2_msun": 20.0}


@cache
def unsafe() -> tuple[str, ...]:
    """The channels that carry strain."""
    made = virgo.simulate(virgo.VirgoParameters(**virgo.HARD | _MANY), seed=SAFETY_SEED)
    return selection.unsafe_channels(made, made["signals"].values)


@cache
def fitted(kind: str, seed: int) -> tuple[xr.Dataset, Any, Any]:
    """A stretch, what was selected of its channels, and the filters."""
    made = virgo.simulate(virgo.VirgoParameters(**SETS[kind]), seed=seed)
    settings = virgo.CleaningParameters(train_fraction=TRAINED[kind])
    selected = virgo.select(made, settings, unsafe=unsafe() if kind == "hard" else ())
    filters = virgo.fit(made, settings, channels=selected.channels, products=selected.products)
    return made, selected, filters


@cache
def cleaned(kind: str, seed: int) -> tuple[xr.Dataset, dict[str, float]]:
    """The account of one stretch, on the part that filters were not fitted to, and numbers of it."""
    made, selected, filters = fitted(kind, seed)
    subtracted, limit = virgo.follow(filters, made), virgo.oracle(made)
    from_s = TRAINED[kind] * made.attrs["duration_s"]
    strain = made["strain"].values
    ranges = [binary_range(made, strain - each, from_s=from_s) for each in (subtracted, limit)]
    n_worse, n_frames = virgo.frames_made_worse(made, subtracted, from_s=from_s)
    account = virgo.removed_by_band(made, subtracted, limit, from_s=from_s)
    numbers = {"range": ranges[0] / ranges[1], "worse": n_worse, "frames": n_frames}
    return account, numbers | _channels(made, selected)


def _channels(made: xr.Dataset, selected: Any) -> dict[str, float]:
    """How many channels were chosen, how many falsely, and how many true ones were found."""
    true = {name for each in virgo.COUPLINGS for name in each.channels if made[each.name].any()}
    # They reach the strain too, for a moment or through the drift: to choose them is not wrong.
    also = {"ENV_TEMP", "ENV_ACC_DET", "LSC_PSTAB"}
    chosen = set(selected.channels)
    return {
        "chosen": len(chosen),
        "false": len(chosen - true - also),
        "found": len(chosen & true),
        "true": len(true),
    }


def of_limit(kind: str, which: str) -> Figure:
    """Coupled power removed, of the oracle's: in the worst band, or the median one."""
    pick = {"worst": np.min, "median": np.median}[which]
    value, error = mean([pick(cleaned(kind, seed)[0]["of_limit"].values) for seed in SEEDS[kind]])
    asked = {"easyworst": 0.95, "hardmedian": 0.90, "hardworst": 0.70}[kind + which]
    return Figure(value, error, "", asked, this_machine(), SEEDS[kind])


def band_made_worse(kind: str) -> Figure:
    """Largest rise of the strain's power in any band of any stretch; negative where all are cleaner."""
    accounts = [cleaned(kind, seed)[0] for seed in SEEDS[kind]]
    rises = np.stack([a["strain_change"].values for a in accounts])
    errors = np.stack([a["strain_change_error"].values for a in accounts])
    worst = np.unravel_index(rises.argmax(), rises.shape)
    return Figure(float(rises[worst]), float(errors[worst]), "", 0.01, this_machine(), SEEDS[kind])


def range_of_oracle(kind: str) -> Figure:
    """Range to binary neutron stars of the cleaned mean spectrum, of the oracle's, 12 to 400 Hz."""
    value, error = mean([cleaned(kind, seed)[1]["range"] for seed in SEEDS[kind]])
    return Figure(value, error, "", 0.98, this_machine(), SEEDS[kind])


@cache
def refined(kind: str, seed: int, prior_only: bool) -> dict[str, float]:
    """Numbers of one stretch cleaned with filters of the network that ships, or of its prior alone."""
    made, _, filters = fitted(kind, seed)
    settings = virgo.CleaningParameters(train_fraction=TRAINED[kind])
    better = virgo.load_filters().refined(filters, made, settings, prior_only=prior_only)
    subtracted, limit = virgo.follow(better, made), virgo.oracle(made)
    from_s, strain = TRAINED[kind] * made.attrs["duration_s"], made["strain"].values
    ranges = [binary_range(made, strain - each, from_s=from_s) for each in (subtracted, limit)]
    account = virgo.removed_by_band(made, subtracted, limit, from_s=from_s)
    n_worse, n_frames = virgo.frames_made_worse(made, subtracted, from_s=from_s)
    loudest = int(account["strain_change"].values.argmax())
    return {
        "range": ranges[0] / ranges[1],
        "worst": float(account["of_limit"].min()),
        "median": float(account["of_limit"].median()),
        "rise": float(account["strain_change"].max()),
        "rise_error": float(account["strain_change_error"].values[loudest]),
        "worse": n_worse,
        "frames": n_frames,
    }


def network(kind: str, which: str, asked: float) -> Figure:
    """Of the oracle's, hard set or easy: filters as fitted, with the prior, with the network too."""
    if which == "range":
        first = [cleaned(kind, seed)[1]["range"] for seed in SEEDS[kind]]
    else:
        pick = {"worst": np.min, "median": np.median}[which]
        first = [float(pick(cleaned(kind, seed)[0]["of_limit"].values)) for seed in SEEDS[kind]]
    prior, ours = ([refined(kind, s, only)[which] for s in SEEDS[kind]] for only in (True, False))
    for name, other in (("fitted", first), ("prior", prior)):
        gain = mean([b - a for a, b in zip(other, ours, strict=True)])
        print(f"  {kind} {which}, network less {name}, by stretch: {gain[0]:.4f} +- {gain[1]:.4f}")
    print(" ", *(f"{a:.4f}/{b:.4f}/{c:.4f}" for a, b, c in zip(first, prior, ours, strict=True)))
    pairs = [mean(each) for each in (first, prior, ours)]
    return Figure([p[0] for p in pairs], [p[1] for p in pairs], "", asked, this_machine(), SEEDS[kind])


def network_harm() -> Figure:
    """Hard set, with the network: seconds made louder by more than 5 %; largest change of a band."""
    numbers = [refined("hard", seed, False) for seed in HARD_SEEDS]
    share = fraction(int(sum(n["worse"] for n in numbers)), int(sum(n["frames"] for n in numbers)))
    rise, error = max((n["rise"], n["rise_error"]) for n in numbers)
    return Figure(
        [float(share[0]), rise], [float(share[1]), error], "", "0.01, 0.01", this_machine(), HARD_SEEDS
    )


def never_worse() -> Figure:
    """Part of the seconds of the hard set whose power from 12 to 400 Hz rose by more than 5 %."""
    numbers = [cleaned("hard", seed)[1] for seed in HARD_SEEDS]
    value, error = fraction(sum(n["worse"] for n in numbers), sum(n["frames"] for n in numbers))
    return Figure(float(value), float(error), "", 0.01, this_machine(), HARD_SEEDS)


def fdr_channels() -> Figure:
    """Part of the chosen channels that is false, and part of the true ones that was found."""
    numbers = [cleaned("hard", seed)[1] for seed in HARD_SEEDS]
    total = {key: sum(n[key] for n in numbers) for key in ("chosen", "false", "found", "true")}
    false, found = fraction(total["false"], total["chosen"]), fraction(total["found"], total["true"])
    values, errors = ([float(each[i]) for each in (false, found)] for i in (0, 1))
    return Figure(values, errors, "", "0.10, 0.80", this_machine(), (SAFETY_SEED, *HARD_SEEDS))


def unsafe_channels() -> Figure:
    """How many of the two channels that carry strain are found, and how many others are flagged."""
    true = {"CAL_NE_MIR_Z", "CAL_WE_MIR_Z"}
    values = [float(len(each)) for each in (true & set(unsafe()), set(unsafe()) - true)]
    return Figure(values, None, "", "2, 0", this_machine(), (SAFETY_SEED,))


_KNOWN: dict[int, np.ndarray] = {}


def without_signals(filters: Any, made: xr.Dataset) -> np.ndarray:
    """What is subtracted from a stretch as it is, computed once."""
    if id(made) not in _KNOWN:
        _KNOWN[id(made)] = virgo.follow(filters, made)
    return _KNOWN[id(made)]


@cache
def losses() -> xr.Dataset:
    """What signals lose in the hard set, in as many passes over its stretches as it takes."""
    found: list[xr.Dataset] = []
    n_found, n_pass = 0, 0
    while n_found < N_INJECTIONS:
        for seed in HARD_SEEDS:
            made, _, filters = fitted("hard", seed)
            wanted = safety.injections(made, from_s=258.0, seed=1000 * n_pass + seed)
            found.append(safety.losses(made, wanted, _subtraction(filters, made)))
            n_found += len(wanted)
            if n_found >= N_INJECTIONS:
                break
        n_pass += 1
    return xr.concat(found, "injection").isel(injection=slice(N_INJECTIONS))


def _subtraction(filters: Any, made: xr.Dataset) -> Any:
    """What is subtracted from a stretch; of the one without signals it is known."""
    alone = without_signals(filters, made)
    return lambda each: alone if each is made else virgo.follow(filters, each)


def signal_snr_match() -> Figure:
    """Mean change of S/N and mean match over all injections; their whole distribution is printed."""
    found = losses()
    for name in ("snr_change", "match"):
        told = np.quantile(found[name].values, (0, 0.01, 0.05, 0.5, 0.95, 0.99, 1))
        print(f"  {name}: lowest, 1, 5, 50, 95, 99 %, highest:", " ".join(f"{x:.6f}" for x in told))
    pairs = [mean(found[name].values) for name in ("snr_change", "match")]
    return Figure(
        [p[0] for p in pairs], [p[1] for p in pairs], "", "2e-3, 0.9995", this_machine(), HARD_SEEDS
    )


def signal_losers() -> Figure:
    """Part of the injections that lose more than 2 % of their S/N."""
    change = losses()["snr_change"].values
    value, error = fraction(int(np.sum(change < -0.02)), len(change))
    return Figure(float(value), float(error), "", 0.02, this_machine(), HARD_SEEDS)


def stream_latency() -> Figure:
    """Time from a frame of 1 s with 20 channels to a cleaned one with vetoes and certificate, 95 %."""
    made, _, filters = fitted("hard", HARD_SEEDS[0])
    watched = tuple(channel.name for channel in VIBRATION)
    needed = dict.fromkeys([*filters.means, *watched])
    names = [*needed, *(n for n in inputs.channels(made) if n not in needed)][:20]
    # How long it takes does not depend on what a veto has learnt.
    learnt = {"significance": (10.0, 10.0), "use": (1.0, 1.0), "weights": (0.0, 3.0, 0.9)}
    veto = vetoes.Veto(channels=watched, **learnt, settings=VetoParameters())
    running = stream.Stream(filters, veto=(veto, 0.5))
    taken = []
    for frame in stream.frames(made.sel(channel=names).isel(time=slice(0, 200 * 1024))):
        frame.load()
        start = time.perf_counter()
        running.push(frame)
        taken.append(1e3 * (time.perf_counter() - start))
    value = float(np.quantile(taken[10:], 0.95))
    error = float(np.std([np.quantile(taken[10 + i :: 5], 0.95) for i in range(5)]) / np.sqrt(5))
    return Figure(value, error, "ms", 250, this_machine(), HARD_SEEDS[:1])


BENCHMARKS = {
    "clean_easy_worst_band": lambda: of_limit("easy", "worst"),
    "clean_hard_median": lambda: of_limit("hard", "median"),
    "clean_hard_worst": lambda: of_limit("hard", "worst"),
    "band_made_worse_easy": lambda: band_made_worse("easy"),
    "band_made_worse_hard": lambda: band_made_worse("hard"),
    "range_of_oracle_easy": lambda: range_of_oracle("easy"),
    "range_of_oracle_hard": lambda: range_of_oracle("hard"),
    "network_range_easy": lambda: network("easy", "range", 0.98),
    "network_range_hard": lambda: network("hard", "range", 0.98),
    "network_worst_easy": lambda: network("easy", "worst", 0.95),
    "network_worst_hard": lambda: network("hard", "worst", 0.70),
    "network_median_hard": lambda: network("hard", "median", 0.90),
    "network_harm": network_harm,
    "never_worse": never_worse,
    "fdr_channels": fdr_channels,
    "unsafe_channels": unsafe_channels,
    "signal_snr_match": signal_snr_match,
    "signal_losers": signal_losers,
    "stream_latency_ms": stream_latency,
}
