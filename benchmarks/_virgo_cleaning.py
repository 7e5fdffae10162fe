"""Figures of Virgo's subtraction: of the oracle's in each band; harm; signals; channels; stream."""

import time
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import xarray as xr

from _table import Figure, this_machine
from physics_twins import virgo
from physics_twins.data import fraction, mean
from physics_twins.virgo import inputs, safety, selection, stream, vetoes
from physics_twins.virgo.evaluate import binary_range
from physics_twins.virgo.parameters import VetoParameters
from physics_twins.virgo.witnesses import VIBRATION

# Looked at for the figures alone, after all was chosen (on seeds 1 to 12, 31 to 36, 1901 to 1906).
EASY_SEEDS = tuple(range(1951, 1957))
HARD_SEEDS = tuple(range(1911, 1917))
TRAINED = {"easy": 0.75, "hard": 0.5, "timed": 0.5}  # faults of the hard set come in both halves
SETS = {"easy": virgo.EASY, "hard": virgo.HARD, "timed": virgo.HARD | {"faults_drawn": False}}
SEEDS = {"easy": EASY_SEEDS, "hard": HARD_SEEDS}
N_INJECTIONS = 1000
HELD_EVERY = 4  # of the signals, one in so many is known of and held; the others only disturb
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
    selected = virgo.select(made, settings, unsafe=() if kind == "easy" else unsafe())
    filters = virgo.fit(made, settings, channels=selected.channels, products=selected.products)
    return made, selected, filters


@cache
def told(kind: str, seed: int, how: str) -> Any:
    """Filters of a stretch as `fitted`, with the `prior`, or by the `network` that ships."""
    filters = fitted(kind, seed)[2]
    return (
        filters if how == "fitted" else virgo.load_filters().refined(filters, prior_only=how == "prior")
    )


@cache
def limit(kind: str, seed: int) -> np.ndarray:
    """What the oracle subtracts."""
    return virgo.oracle(fitted(kind, seed)[0])


@cache
def subtracted(kind: str, seed: int, how: str) -> np.ndarray:
    """What is subtracted from a stretch as it is."""
    return virgo.follow(told(kind, seed, how), fitted(kind, seed)[0])


@cache
def numbers(kind: str, seed: int, how: str) -> dict[str, float]:
    """Of one stretch, on the part that filters were not fitted to, beside the oracle."""
    made, ours, best = fitted(kind, seed)[0], subtracted(kind, seed, how), limit(kind, seed)
    from_s, strain = TRAINED[kind] * made.attrs["duration_s"], made["strain"].values
    ranges = [binary_range(made, strain - each, from_s=from_s) for each in (ours, best)]
    account = virgo.removed_by_band(made, ours, best, from_s=from_s)
    n_worse, n_frames = virgo.frames_made_worse(made, ours, from_s=from_s)
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


def of_limit(kind: str, which: str, asked: float, how: str = "fitted") -> Figure:
    """Of the oracle's: range, or coupled power removed in the worst band or the median one."""
    value, error = mean([numbers(kind, seed, how)[which] for seed in SEEDS[kind]])
    return Figure(value, error, "", asked, this_machine(), SEEDS[kind])


def band_made_worse(kind: str, how: str = "fitted") -> Figure:
    """Largest rise of the strain's power in any band of any stretch; negative where all are cleaner."""
    all_of_them = [numbers(kind, seed, how) for seed in SEEDS[kind]]
    rise, error = max((each["rise"], each["rise_error"]) for each in all_of_them)
    return Figure(rise, error, "", 0.01, this_machine(), SEEDS[kind])


def network(kind: str, which: str, asked: float) -> Figure:
    """Of the oracle's: filters as fitted, with the prior, with the network; that less as fitted."""
    ways = ("fitted", "prior", "network")
    first, prior, ours = ([numbers(kind, s, how)[which] for s in SEEDS[kind]] for how in ways)
    gains = [b - a for a, b in zip(first, ours, strict=True)]
    print(" ", *(f"{a:.4f}/{b:.4f}/{c:.4f}" for a, b, c in zip(first, prior, ours, strict=True)))
    values, errors = map(list, zip(*map(mean, (first, prior, ours, gains)), strict=True))
    return Figure(values, errors, "", asked, this_machine(), SEEDS[kind])


def never_worse(how: str = "fitted") -> Figure:
    """Part of the seconds of the hard set whose power from 12 to 400 Hz rose by more than 5 %."""
    all_of_them = [numbers("hard", seed, how) for seed in HARD_SEEDS]
    counts = (int(sum(each[name] for each in all_of_them)) for name in ("worse", "frames"))
    value, error = fraction(*counts)
    return Figure(float(value), float(error), "", 0.01, this_machine(), HARD_SEEDS)


def fdr_channels() -> Figure:
    """Part of the chosen channels that is false, and part of the true ones that was found."""
    counts = [_channels(*fitted("hard", seed)[:2]) for seed in HARD_SEEDS]
    total = {key: sum(n[key] for n in counts) for key in ("chosen", "false", "found", "true")}
    false, found = fraction(total["false"], total["chosen"]), fraction(total["found"], total["true"])
    values, errors = ([float(each[i]) for each in (false, found)] for i in (0, 1))
    return Figure(values, errors, "", "0.10, 0.80", this_machine(), (SAFETY_SEED, *HARD_SEEDS))


def unsafe_channels() -> Figure:
    """How many of the two channels that carry strain are found, and how many others are flagged."""
    true = {"CAL_NE_MIR_Z", "CAL_WE_MIR_Z"}
    values = [float(len(each)) for each in (true & set(unsafe()), set(unsafe()) - true)]
    return Figure(values, None, "", "2, 0", this_machine(), (SAFETY_SEED,))


@cache
def losses(how: str, held: bool) -> xr.Dataset:
    """What signals lose in the hard set, in as many passes over its stretches as it takes.

    One signal comes every 8 s. Where they are `held`, one in four is: its seconds teach and decide
    nothing, as when they are cleaned again for who measures it. Those alone are then judged.
    """
    found: list[xr.Dataset] = []
    n_found, n_pass = 0, 0
    while n_found < N_INJECTIONS:
        for seed in HARD_SEEDS:
            made = fitted("hard", seed)[0]
            wanted = safety.injections(made, from_s=258.0, seed=1000 * n_pass + seed)
            judged = slice(n_pass % HELD_EVERY, None, HELD_EVERY) if held else slice(None)
            held_s = [_span(each) for each in wanted[judged]] if held else []
            filters = told("hard", seed, how)
            known = {} if held else {id(made): subtracted("hard", seed, how)}
            subtract = partial(_followed, filters, held_s, known)
            lost = safety.losses(made, wanted, subtract).isel(injection=judged)
            found.append(lost)
            n_found += lost.sizes["injection"]
        n_pass += 1
    return xr.concat(found, "injection").isel(injection=slice(N_INJECTIONS))


def _followed(filters: Any, held_s: Any, known: dict[int, np.ndarray], stretch: xr.Dataset) -> Any:
    """What is subtracted from a stretch, where it is not known yet."""
    if id(stretch) in known:
        return known[id(stretch)]
    return virgo.follow(filters, stretch, held_s=held_s)


def _span(signal: safety.Injection) -> tuple[float, float]:
    """When a signal is in the strain, in s."""
    return signal.first / 1024, (signal.first + len(signal.strain)) / 1024


def signal_snr_match(how: str = "fitted", held: bool = False) -> Figure:
    """Mean change of S/N and mean match over all injections; their whole distribution is printed."""
    found = losses(how, held)
    print(f"  {found.sizes['injection']} signals, filters: {how}{', held' * held}")
    for name in ("snr_change", "match"):
        quantiles = np.quantile(found[name].values, (0, 0.01, 0.05, 0.5, 0.95, 0.99, 1))
        print(f"  {name}: lowest, 1, 5, 50, 95, 99 %, highest:", *(f"{x:.6f}" for x in quantiles))
    pairs = [mean(found[name].values) for name in ("snr_change", "match")]
    return Figure(
        [p[0] for p in pairs], [p[1] for p in pairs], "", "2e-3, 0.9995", this_machine(), HARD_SEEDS
    )


def signal_losers(how: str = "fitted", held: bool = False) -> Figure:
    """Part of the injections that lose more than 2 % of their S/N."""
    change = losses(how, held)["snr_change"].values
    value, error = fraction(int(np.sum(change < -0.02)), len(change))
    return Figure(float(value), float(error), "", 0.02, this_machine(), HARD_SEEDS)


def held_range() -> Figure:
    """Range in the hard set with the network while 8 s of 32 are held, over that while none are."""
    ratios = []
    for seed in HARD_SEEDS:
        made = fitted("hard", seed)[0]
        held_s = [(at_s, at_s + 8.0) for at_s in np.arange(260.0, 500.0, 32.0)]
        held = virgo.follow(told("hard", seed, "network"), made, held_s=held_s)
        ways, strain = (held, subtracted("hard", seed, "network")), made["strain"].values
        ranges = [binary_range(made, strain - each, from_s=256.0) for each in ways]
        ratios.append(ranges[0] / ranges[1])
    value, error = mean(ratios)
    return Figure(value, error, "", "", this_machine(), HARD_SEEDS)


def stream_latency() -> Figure:
    """Time from a frame of 1 s with 20 channels to a cleaned one with vetoes and certificate, 95 %."""
    torch.set_num_threads(1)  # several wait for each other where cores are shared
    made, _, filters = fitted("hard", HARD_SEEDS[0])
    watched = tuple(channel.name for channel in VIBRATION)
    needed = dict.fromkeys([*filters.means, *watched])
    names = [*needed, *(n for n in inputs.channels(made) if n not in needed)][:20]
    # How long it takes does not depend on what a veto has learnt.
    learnt = {"significance": (10.0, 10.0), "use": (1.0, 1.0), "weights": (0.0, 3.0, 0.9)}
    veto = vetoes.Veto(channels=watched, **learnt, settings=VetoParameters())
    running = stream.Stream(told("hard", HARD_SEEDS[0], "network"), veto=(veto, 0.5))
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
    "clean_easy_worst_band": lambda: of_limit("easy", "worst", 0.95),
    "clean_hard_median": lambda: of_limit("hard", "median", 0.90),
    "clean_hard_worst": lambda: of_limit("hard", "worst", 0.70),
    "band_made_worse_easy": lambda: band_made_worse("easy"),
    "band_made_worse_hard": lambda: band_made_worse("hard"),
    "range_of_oracle_easy": lambda: of_limit("easy", "range", 0.98),
    "range_of_oracle_hard": lambda: of_limit("hard", "range", 0.98),
    "network_range_easy": lambda: network("easy", "range", 0.98),
    "network_range_hard": lambda: network("hard", "range", 0.98),
    "network_worst_easy": lambda: network("easy", "worst", 0.95),
    "network_worst_hard": lambda: network("hard", "worst", 0.70),
    "network_median_hard": lambda: network("hard", "median", 0.90),
    "network_rise_easy": lambda: band_made_worse("easy", "network"),
    "network_rise_hard": lambda: band_made_worse("hard", "network"),
    "network_never_worse": lambda: never_worse("network"),
    "never_worse": never_worse,
    "fdr_channels": fdr_channels,
    "unsafe_channels": unsafe_channels,
    "signal_snr_match": signal_snr_match,
    "signal_losers": signal_losers,
    "network_match": lambda: signal_snr_match("network"),
    "network_losers": lambda: signal_losers("network"),
    "held_match": lambda: signal_snr_match("network", held=True),
    "held_losers": lambda: signal_losers("network", held=True),
    "held_range": held_range,
    "stream_latency_ms": stream_latency,
}
