"""Whether errors of Virgo's twin hold the truth: of calibrated strengths, and of what would be if."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from _table import Figure, this_machine
from physics_twins import virgo
from physics_twins.data import fraction
from physics_twins.virgo import couplings, witnesses
from physics_twins.virgo.parameters import WitnessOff
from physics_twins.virgo.sensitivity import inspiral_range, noise_asd

CALIBRATED_SEEDS, ASKED_SEEDS = tuple(range(2101, 2111)), tuple(range(2121, 2129))
ASKED = virgo.VirgoParameters(duration_s=128.0, sample_rate_hz=1024, glitch_rate_hz=0.02, n_signals=0)
LONG = ASKED.replace(duration_s=1024.0, glitch_rate_hz=0.0)
# What is lost of the range without a channel, and which coupling is not subtracted then.
LOST: dict[WitnessOff, str] = {
    "ENV_SEIS_N": "seismic",
    "LSC_MICH": "length",
    "ENV_MAG_N": "magnetic",
    "INJ_BPC_TX": "jitter",
    "SIB2_POS_X": "fringe",
}


def calibrated(seed: int) -> Any:
    """The calibration of a stretch of 128 s."""
    made, settings = virgo.simulate(ASKED, seed=seed), virgo.CleaningParameters(train_fraction=1.0)
    selected = virgo.select(made, settings)
    return virgo.calibrate(made, start=ASKED, selection=selected, settings=settings)


def _coverage(away: Mapping[str, list[float]], seeds: Iterable[int], asked: str) -> Figure:
    """Part of numbers that are within one, and within two, of their errors; their spread is printed."""
    for name, each in away.items():
        spread, shift = np.sqrt(np.mean(np.square(each))), np.mean(each)
        print(f"  {name}: in errors, root mean square {spread:.2f}, mean {shift:+.2f}")
    all_of_them = np.abs(np.concatenate(list(away.values())))
    pairs = [fraction(int(np.sum(all_of_them < most)), len(all_of_them)) for most in (1, 2)]
    values, errors = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    return Figure(values, errors, "", asked, this_machine(), tuple(seeds))


def calibrate_coverage() -> Figure:
    """Part of the calibrated numbers that are within one, and within two, of their errors."""
    away: dict[str, list[float]] = {}
    for seed in CALIBRATED_SEEDS:
        for name, told in calibrated(seed).parameters.items():
            away.setdefault(name, []).append((told.value - getattr(ASKED, name)) / told.error)
    return _coverage(away, CALIBRATED_SEEDS, "0.68, 0.95")


def _true_power(seed: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Frequencies, and the power of each coupling over the detector's noise, mean of 1,024 s.

    That of the fringe is the expected one: few moments in which the bench is quick make it.
    """
    made, frequency_hz = virgo.simulate(LONG, seed=seed), np.fft.rfftfreq(2048, 1 / 1024)
    powers = {}
    for name in map(str, made["coupling"].values):
        powers[name] = signal.welch(made[name].values[2048:-2048], 1024, nperseg=2048)[1]
    fringe = next(each for each in couplings.COUPLINGS if each.name == "fringe")
    fine_hz = np.arange(0, 512.005, 0.01)
    basis = couplings.basis_asd(fringe, fine_hz, LONG.fringe_calibration)
    response = np.fft.rfft(couplings.response(fringe, LONG, seed=seed), 2048)
    powers["fringe"] = (np.abs(response) * np.interp(frequency_hz, fine_hz, basis)) ** 2
    used = (frequency_hz >= 12) & (frequency_hz <= 400)
    noise = noise_asd(frequency_hz[used], LONG.detector) ** 2
    return frequency_hz[used], {name: power[used] / noise for name, power in powers.items()}


def true_losses(seed: int) -> dict[str, float]:
    """What of the range is lost without each channel, in Mpc, by the true spectra."""
    frequency_hz, powers = _true_power(seed)
    noise = noise_asd(frequency_hz, LONG.detector) ** 2
    hidden = {}
    for channel, name in LOST.items():  # what the channel's own noise hides is left anyway
        known = witnesses.NAMED[channel]
        floor = 0.0 if name == "fringe" else known.floor**2
        hidden[name] = powers[name] * floor / (known.asd(frequency_hz) ** 2 + floor)
    left = 1 + sum(hidden.values())
    whole = inspiral_range(frequency_hz, noise * left)
    without = {c: left + powers[name] - hidden[name] for c, name in LOST.items()}
    return {c: inspiral_range(frequency_hz, noise * each) - whole for c, each in without.items()}


def what_if_coverage() -> Figure:
    """Part of what lost channels cost of the range that is within one, and two, of its error."""
    away: dict[str, list[float]] = {}
    for seed in ASKED_SEEDS:
        found, truth = calibrated(seed), true_losses(seed)
        scenarios = {name: virgo.without(name) for name in LOST}
        told = virgo.what_if(found.wiener, found.state("128 s"), scenarios, start=ASKED, seed=seed)
        cost = told.sel(number="cleaned_range_mpc")
        for name in LOST:
            each = cost.sel(scenario=name)
            value, error = float(each["difference"]), float(each["difference_error"])
            print(f"  {seed} {name}: {value:.2f} +- {error:.2f} Mpc, truth {truth[name]:.2f}")
            away.setdefault(name, []).append((value - truth[name]) / error)
    return _coverage(away, ASKED_SEEDS, "0.68, 0.95")


BENCHMARKS = {"calibrate_coverage": calibrate_coverage, "what_if_coverage": what_if_coverage}
