"""The figures of a calorimeter whose silicon alone is read, in layers; part of `calorimeter.py`.

There a thicker absorber lowers what is seen much as a lower gain does. Showers are those of Geant4 that
`_calorimeter_twin` calibrates on, seen by their sensors: neither the flow nor any rival has seen them.
"""

from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import _calorimeter_twin as twins
from _calorimeter_rivals import Moments, RatioPage
from _table import Figure, Skipped, share_error, this_machine
from physics_twins import models
from physics_twins.calorimeter.calibrate import calibrate
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.form import layers_alone
from physics_twins.calorimeter.model import LAYERS_NAME, ShowerFlow, load_flow
from physics_twins.calorimeter.monitor import Monitor
from physics_twins.calorimeter.observe import gains, with_gain
from physics_twins.calorimeter.training_showers import NOMINAL_MM
from physics_twins.calorimeter.twin_parameters import MonitorParameters

N_DRAWS, N_STREAMS, N_LEARNT = 30, 20, 300
NEAR = 0.004  # a draw stands for another thickness that misses it by less
# Monitor and rival look for changes of 2 %.
WATCHED = MonitorParameters(scale_change=0.02, absorber_change_mm=0.02 * NOMINAL_MM)
N_MOST = 1000  # a change that is not found counts as if it had taken so many showers
# Changes, by name; the last two are none that the monitor looks for.
CHANGES = ("gain 2 % lower", "absorbers 2 % thicker", "rear 30 pairs 5 % lower", "ninth pair dead")


def sampling_calibration() -> Figure:
    """Errors of scale and thickness from 500 showers, in per cent (68 % of draws), and coverage.

    The twin's two errors and the coverage of its two 68 % intervals; then errors of scale and thickness
    by moments of the depth, of scale by a ratio of means that believes the absorbers to be nominal, and
    by one that is told their thickness.
    """
    draws = _draws()
    values, errors = [], []
    told = ("scale", "thickness", "moments_scale", "moments_thickness", "ratio", "ratio_told")
    for name in told:
        away = 100 * np.abs(draws[name])
        rows = np.random.default_rng(0).integers(0, len(away), (200, len(away)))
        values.append(float(np.quantile(away, twins.LEVEL)))
        errors.append(float(np.quantile(away[rows], twins.LEVEL, axis=1).std()))
    for place, name in enumerate(("scale_covered", "thickness_covered")):
        share = float(draws[name].mean())
        values.insert(2 + place, share)
        errors.insert(2 + place, share_error(share, N_DRAWS))
    unit = "%, %, 1, 1, %, %, %, %"
    seeds = (twins.SEEDS["draws"],)
    return Figure(values, errors, unit, "0.5, 3, 0.68, 0.68; rivals", this_machine(), seeds)


def sampling_drift() -> Figure:
    """False alarms per 1000 different showers; showers until a change is found, median of streams.

    First those of the twin's monitor, then those of Page's test of the response, both with the same
    threshold: false alarms, and then each of `CHANGES`.
    """
    watched, values, errors = _watched(), [], []
    for who in ("twin", "ratio"):
        n_false, n = watched[f"{who}_false"].sum(), watched["n_quiet"].sum()
        values.append(1e3 * float(n_false / n))
        errors.append(1e3 * float(np.sqrt(n_false + 1) / n))
        for change in CHANGES:
            found = watched[f"{who} {change}"]
            values.append(float(np.median(found)))
            errors.append(1.25 * float(found.std() / np.sqrt(len(found))))
    reference = "1, then rivals"
    return Figure(values, errors, "", reference, this_machine(), (twins.SEEDS["draws"],))


@cache
def _draws() -> dict[str, NDArray[np.float64]]:
    model, moments, rows = _model(), _moments(), []
    for number in range(N_DRAWS):
        thickness_mm, scale, seen = _drawn(number)
        found = calibrate(model, seen, seed=number).parameters
        measured = MeasuredShowers.of(seen)
        by_moments = moments.fit(measured)
        rows.append(
            {
                "scale": found["energy_scale"].value / scale - 1,
                "thickness": found["absorber_mm"].value / thickness_mm - 1,
                "scale_covered": found["energy_scale"].covers(scale),
                "thickness_covered": found["absorber_mm"].covers(thickness_mm),
                "moments_scale": by_moments[0] / scale - 1,
                "moments_thickness": by_moments[1] / thickness_mm - 1,
                "ratio": moments.scale(measured, NOMINAL_MM) / scale - 1,
                "ratio_told": moments.scale(measured, thickness_mm) / scale - 1,
            }
        )
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


@cache
def _watched() -> dict[str, NDArray[np.float64]]:
    near = [n for n in range(twins.N_DRAWS) if max(_partner(n, r)[1] for r in (1, 1.02)) < NEAR]
    rows = [stream(number) for number in near[:N_STREAMS]]
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


def stream(number: int) -> dict[str, float]:
    """Calibrate on a draw's first showers, watch its others, and those of others after each change."""
    model, (_, scale, seen) = _model(), _drawn(number)
    learnt, quiet = seen.isel(shower=slice(N_LEARNT)), seen.isel(shower=slice(N_LEARNT, None))
    state = calibrate(model, learnt, seed=number).state("a draw")
    page = RatioPage(MeasuredShowers.of(learnt), 1 - twins.AGEING)
    monitor = Monitor(model, state, learnt, settings=WATCHED)
    monitor.watch(quiet)
    row: dict[str, float] = {
        "n_quiet": quiet.sizes["shower"],
        "twin_false": len(monitor.alarms),
        "ratio_false": page.called_at(MeasuredShowers.of(quiet)) is not None,
    }
    for change in CHANGES:
        changed = _changed(number, change, scale)
        monitor = Monitor(model, state, learnt, settings=WATCHED)
        monitor.watch(changed, stop_at_alarm=True)
        size = monitor.settings.batch_showers
        at = [(each.frame + 1) * size for each in monitor.alarms]
        row[f"twin {change}"] = at[0] if at else N_MOST
        row[f"ratio {change}"] = page.called_at(MeasuredShowers.of(changed)) or N_MOST
    return row


def _changed(number: int, change: str, scale: float) -> xr.Dataset:
    """Return showers of another draw, whose thickness is the nearest, after a change."""
    other, _ = _partner(number, 1.02 if "thicker" in change else 1.0)
    gain = scale * gains(twins.N_SHOWERS, twins.SCATTER, seed=number)
    seen = with_gain(_layers(other), gain).drop_attrs()
    if "gain" in change:
        return with_gain(seen, twins.AGEING)
    lost = np.ones(seen.sizes["depth"], dtype=np.float32)
    lost[15:] = 0.95 if "rear" in change else 1.0
    lost[8] = 0.0 if "dead" in change else 1.0
    cells = seen["showers"] * xr.DataArray(lost, dims="depth")
    return seen.assign(showers=cells.assign_attrs(seen["showers"].attrs))


def _partner(number: int, ratio: float) -> tuple[int, float]:
    """Return the draw whose absorbers are so many times as thick, and by what part they miss that."""
    mine = twins.hidden(number)[0]
    others = [n for n in range(twins.N_DRAWS) if n != number]
    missed = {n: abs(twins.hidden(n)[0] / mine - ratio) for n in others}
    other = min(others, key=lambda n: missed[n])
    return other, missed[other]


def _drawn(number: int) -> tuple[float, float, xr.Dataset]:
    """Return thickness and scale that nobody is told, and what is seen."""
    thickness_mm, scale, gain = twins.hidden(number)
    return thickness_mm, scale, with_gain(_layers(number), gain).drop_attrs()


@cache
def _layers(number: int) -> xr.Dataset:
    return layers_alone(twins.draw(number, twins.hidden(number)[0]))


@cache
def _moments() -> Moments:
    pools = [MeasuredShowers.of(layers_alone(twins.pool(t))) for t in twins.POOLS]
    return Moments(pools, list(twins.POOLS))


@cache
def _model() -> ShowerFlow:
    try:
        return load_flow(LAYERS_NAME)
    except models.ModelError as error:
        raise Skipped(str(error)) from None


BENCHMARKS = {"sampling_calibration": sampling_calibration, "sampling_drift": sampling_drift}
