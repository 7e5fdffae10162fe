"""The figures of the calibrated calorimeter: calibration, its time, drift; part of `calorimeter.py`.

What is measured is Geant4's, each time with a thickness and a gain that the fit does not know and that
no network has seen. Simulating it takes 45 CPU-minutes; a folder in PHYSICS_TWINS_SHOWERS keeps it.
"""

import time
from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from _calorimeter_rivals import Moments, RatioPage
from _calorimeter_showers import geant4_showers
from _table import Figure, Skipped, share_error, this_machine
from physics_twins import models
from physics_twins.calorimeter.calibrate import calibrate
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.monitor import Monitor
from physics_twins.calorimeter.observe import gains, with_gain
from physics_twins.calorimeter.training_showers import NOMINAL_MM

# Not used while any of this was written.
POOLS = {1.27: 65_001, 1.33: 65_002, 1.47: 65_003, 1.53: 65_004}
SEEDS = {"draws": 68_000, "streams": 67_000}
N_POOL, N_DRAWS, N_SHOWERS = 1000, 50, 500
# The thickness of each draw is between these, and so is its gain, which scatters by 1 %.
THICKNESSES_MM, MAX_GEV = (1.22, 1.58), 20.0
SCALES, SCATTER = (0.9, 1.1), 0.01
N_STREAMS, AGEING = 24, 0.98
LEVEL = 0.68


def calibrate_scale_thickness() -> Figure:
    """Errors of energy scale and thickness from 500 showers of Geant4, in per cent, and their coverage.

    Each of 50 draws has showers of its own, 1 to 20 GeV. First the 68 % quantiles of the relative
    errors of scale and thickness; then which part of the 68 % intervals hold the truth, for both.
    """
    draws = _draws()
    values, errors = [], []
    for name in ("scale", "thickness"):
        away = 100 * np.abs(draws[f"{name}_error"])
        values.append(float(np.quantile(away, LEVEL)))
        rows = np.random.default_rng(0).integers(0, N_DRAWS, (200, N_DRAWS))
        errors.append(float(np.quantile(away[rows], LEVEL, axis=1).std()))
    for name in ("scale", "thickness"):
        share = float(draws[f"{name}_covered"].mean())
        values.append(share)
        errors.append(share_error(share, N_DRAWS))
    reference = "0.5, 2, 0.68, 0.68"
    return Figure(values, errors, "%, %, 1, 1", reference, this_machine(), (SEEDS["draws"],))


def calibrate_bias_over_error() -> Figure:
    """Mean deviation of energy scale and of thickness over the error that the calibration gives.

    Then the part of the error's square that the flow's ensemble is the reason of.
    """
    draws = _draws()
    values, errors = [], []
    for name in ("scale", "thickness"):
        pull = draws[f"{name}_error"] / draws[f"{name}_sigma"]
        values.append(float(pull.mean()))
        errors.append(float(pull.std(ddof=1) / np.sqrt(N_DRAWS)))
    for name in ("scale", "thickness"):
        part = draws[f"{name}_ensemble"]
        values.append(float(part.mean()))
        errors.append(float(part.std(ddof=1)))
    return Figure(values, errors, "", "0, 0", this_machine(), (SEEDS["draws"],))


def calibrate_s() -> Figure:
    """CPU time of a calibration with 500 showers, on one core, its test of goodness included."""
    spent_s = _draws()["spent_s"]
    error = float(np.quantile(spent_s, 0.84) - np.quantile(spent_s, 0.16)) / 2
    return Figure(float(np.median(spent_s)), error, "CPU-s", 20.0, this_machine(), (SEEDS["draws"],))


def drift_false_found() -> Figure:
    """False alarms per 1000 showers that have not changed; showers until an ageing of 2 % is found.

    Each of 24 streams has a calibration of its own with 400 showers. The third number is the 90th
    percentile of the second.
    """
    watched = _watched()
    n_showers, n_false = watched["n_quiet"].sum(), watched["n_false"].sum()
    found = watched["found"]
    values = [1e3 * float(n_false / n_showers), float(np.median(found))]
    values.append(float(np.quantile(found, 0.9)))
    # Of a count that may be zero: the upper end of its 68 % interval is that of one more.
    errors = [1e3 * float(np.sqrt(n_false + 1) / n_showers)]
    errors += [float(factor * found.std() / np.sqrt(len(found))) for factor in (1.25, 2.0)]
    seeds = (*POOLS.values(), SEEDS["streams"])
    return Figure(values, errors, "", "1, 100, 100", this_machine(), seeds)


def calibrate_rivals() -> Figure:
    """Errors without a twin, in per cent, 68 % of the same draws; see `_calorimeter_rivals`.

    Of scale by a ratio of means that believes absorbers of 1.4 mm; of scale and thickness by moments.
    """
    pools = [MeasuredShowers.of(pool(t)) for t in POOLS]
    moments, away = Moments(pools, list(POOLS)), []
    for number in range(N_DRAWS):
        thickness_mm, scale, seen = _drawn(number)
        showers = MeasuredShowers.of(seen)
        found = moments.fit(showers)
        ratio = moments.scale(showers, NOMINAL_MM)
        away.append([ratio / scale - 1, found[0] / scale - 1, found[1] / thickness_mm - 1])
    away = 100 * np.abs(away)
    rows = np.random.default_rng(0).integers(0, N_DRAWS, (200, N_DRAWS))
    errors = np.quantile(away[rows], LEVEL, axis=1).std(axis=0)
    values = np.quantile(away, LEVEL, axis=0)
    told = (values.tolist(), errors.tolist(), "%, %, %", "", this_machine(), (SEEDS["draws"],))
    return Figure(*told)


def drift_ratio() -> Figure:
    """As `drift_false_found`, by Page's test of each shower's response, without a twin."""
    n_false, n_quiet, found = 0, 0, []
    for number in range(N_STREAMS):
        learnt, quiet, aged = (MeasuredShowers.of(each) for each in _stream(number))
        page = RatioPage(learnt, 1 - AGEING)
        n_quiet, n_false = n_quiet + len(quiet), n_false + (page.called_at(quiet) is not None)
        found.append(page.called_at(aged) or 2 * len(aged))
    values = [1e3 * n_false / n_quiet, float(np.median(found)), float(np.quantile(found, 0.9))]
    errors = [1e3 * float(np.sqrt(n_false + 1)) / n_quiet]
    errors += [float(factor * np.std(found) / np.sqrt(len(found))) for factor in (1.25, 2.0)]
    seeds = (*POOLS.values(), SEEDS["streams"])
    return Figure(values, errors, "", "1, 100, 100", this_machine(), seeds)


@cache
def _draws() -> dict[str, NDArray[np.float64]]:
    """Calibrate on draws of showers whose thickness and gain the fit does not know."""
    model, rows = _model(), []
    for number in range(N_DRAWS):
        thickness_mm, scale, measured = _drawn(number)
        begun = time.process_time()
        found = calibrate(model, measured, seed=number)
        spent_s = time.process_time() - begun
        row = {"spent_s": spent_s}
        told = {"scale": ("energy_scale", scale), "thickness": ("absorber_mm", thickness_mm)}
        for name, (parameter, truth) in told.items():
            estimate, part = found.parameters[parameter], found.parts.sel(parameter=parameter)
            ensemble = float(part["ensemble"]) ** 2
            row[f"{name}_error"] = estimate.value / truth - 1
            row[f"{name}_sigma"] = estimate.error / truth
            row[f"{name}_covered"] = estimate.covers(truth)
            row[f"{name}_ensemble"] = ensemble / (ensemble + float(part["showers"]) ** 2)
        rows.append(row)
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


@cache
def _watched() -> dict[str, NDArray[np.float64]]:
    """Calibrate, watch showers that have not changed, and such that have aged, many times."""
    model, rows = _model(), []
    for number in range(N_STREAMS):
        learnt, quiet, aged = _stream(number)
        state = calibrate(model, learnt, seed=number).state("a pool")
        before, after = (Monitor(model, state, learnt) for _ in range(2))
        before.watch(quiet)
        after.watch(aged, stop_at_alarm=True)
        # A change that is not found at all counts as if it had taken twice as long.
        size = after.settings.batch_showers
        found = (after.alarms[0].frame + 1) * size if after.alarms else 2 * aged.sizes["shower"]
        rows.append([quiet.sizes["shower"], len(before.alarms), found])
    columns = np.array(rows, dtype=float).T
    return dict(zip(("n_quiet", "n_false", "found"), columns, strict=True))


def _stream(number: int) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Return showers of a pool in a new order behind a gain: to learn from, quiet ones, aged ones."""
    generator = np.random.default_rng([SEEDS["streams"], number])
    scale = float(np.exp(generator.uniform(*np.log(SCALES))))
    rows = generator.permutation(N_POOL)
    thickness_mm = list(POOLS)[number % len(POOLS)]
    whole = with_gain(
        pool(thickness_mm).isel(shower=rows), _gain(N_POOL, generator, scale)
    ).drop_attrs()
    learnt, quiet = whole.isel(shower=slice(0, 400)), whole.isel(shower=slice(400, 700))
    return learnt, quiet, with_gain(whole.isel(shower=slice(700, None)), AGEING)


def _drawn(number: int) -> tuple[float, float, xr.Dataset]:
    """Return thickness and scale that the fit is not told, and what is seen."""
    thickness_mm, scale, gain = hidden(number)
    return thickness_mm, scale, with_gain(draw(number, thickness_mm), gain).drop_attrs()


def hidden(number: int) -> tuple[float, float, NDArray[np.float64]]:
    """Return thickness, scale and each shower's gain of a draw."""
    generator = np.random.default_rng(SEEDS["draws"] + number)
    thickness_mm = round(float(generator.uniform(*THICKNESSES_MM)), 4)
    scale = float(np.exp(generator.uniform(*np.log(SCALES))))
    return thickness_mm, scale, _gain(N_SHOWERS, generator, scale)


def _gain(n_showers: int, generator: np.random.Generator, scale: float) -> NDArray[np.float64]:
    return scale * gains(n_showers, SCATTER, seed=int(generator.integers(2**31)))


def draw(number: int, thickness_mm: float) -> xr.Dataset:
    """Return the showers of a draw."""
    told = {"absorber_mm": thickness_mm, "energy_max_gev": MAX_GEV, "n_showers": N_SHOWERS}
    return geant4_showers(f"hidden/draw-{number:02d}", told, seed=SEEDS["draws"] + number)


@cache
def pool(thickness_mm: float) -> xr.Dataset:
    """Return showers of a known thickness, 1 to 100 GeV."""
    told = {"absorber_mm": thickness_mm, "n_showers": N_POOL}
    return geant4_showers(f"hidden/{thickness_mm:.2f}mm", told, seed=POOLS[thickness_mm])


@cache
def _model() -> ShowerFlow:
    try:
        return load_flow()
    except models.ModelError as error:
        raise Skipped(str(error)) from None


BENCHMARKS = {
    "calibrate_scale_thickness": calibrate_scale_thickness,
    "calibrate_bias_over_error": calibrate_bias_over_error,
    "calibrate_s": calibrate_s,
    "drift_false_found": drift_false_found,
    "calibrate_rivals": calibrate_rivals,
    "drift_ratio": drift_ratio,
}
