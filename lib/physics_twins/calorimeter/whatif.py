"""What would be if: showers of another energy or angle, or behind other absorbers, as a difference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.twin import TwinState

AS_CALIBRATED = "as calibrated"
# Numbers of a scenario, and their units.
NUMBERS: Mapping[str, str] = {
    "response": "1",
    "resolution": "1",
    "depth_mm": "mm",
    "length_mm": "mm",
    "radius_mm": "mm",
}


def what_if(
    model: ShowerFlow,
    state: TwinState,
    scenarios: Mapping[str, Mapping[str, Any]],
    *,
    parameters: CalorimeterParameters,
    seed: int,
) -> xr.Dataset:
    """Return what changed conditions would do to the showers of a calibrated twin.

    All scenarios are drawn with the same random numbers, so that what differs is the scenario.

    Args:
        model: The flow that was calibrated.
        state: The calibrated state.
        scenarios: Changed parameters by the scenario's name, such as
            `{"thicker": {"absorber_mm": 1.5}}`.
        parameters: What enters the calibrated calorimeter; its thickness is the state's.
        seed: Of the showers.

    Returns:
        `value` (scenario, number), that of the calibrated twin first, and `difference` to it with
        `statistical`, from the number of showers, `ensemble`, from what the flow has not learnt well,
        `calibration`, from the state's errors, and `error`, all together; `unit` of each number.

    Raises:
        ValueError: A scenario lies outside the trained range or names no parameter.
    """
    base = calibrated(parameters, state)
    # What the calibration leaves open, at both ends; only the thickness moves a difference.
    thickness = state.parameters.get("absorber_mm")
    error_mm = thickness.error if thickness else 0.0
    plans = {AS_CALIBRATED: {}, **scenarios}
    scale = state.parameters["energy_scale"].value if "energy_scale" in state.parameters else 1.0
    rows: dict[str, list[NDArray[np.float64]]] = {}
    reference: list[NDArray[np.float64]] = []
    for name, changes in plans.items():
        asked = base.replace(**changes)
        own = _numbers(model, asked, seed, scale)
        ends = []
        for sign in (-1, 1):
            moved = {"absorber_mm": base.absorber_mm + sign * error_mm, **changes}
            ends.append(_numbers(model, base.replace(**moved), seed, scale, member=0)[1])
        now = [*own, ends[1] - ends[0]]
        reference = reference or now
        rows[name] = _difference(now, reference)
    return _table(rows, seed)


def calibrated(parameters: CalorimeterParameters, state: TwinState) -> CalorimeterParameters:
    """Return parameters with the thickness and, where it was fitted, the angle of a state."""
    changes = {
        n: state.parameters[n].value for n in ("absorber_mm", "theta_deg") if n in state.parameters
    }
    if "theta_deg" in changes:
        changes["theta_max_deg"] = 0.0
    return parameters.replace(**changes)


def _numbers(
    model: ShowerFlow,
    asked: CalorimeterParameters,
    seed: int,
    scale: float,
    member: int | None = None,
) -> list[NDArray[np.float64]]:
    """Return numbers of each member, (member, number); their mean; and each shower's part of it."""
    model.check(asked)
    chosen = range(len(model.members)) if member is None else (member,)
    each, parts = [], []
    for number in chosen:
        seen = features(generate(model, asked, seed=seed, member=number))
        columns = {name: seen[name].values for name in NUMBERS if name != "resolution"}
        columns["response"] = scale * columns["response"]
        mean = columns["response"].mean()
        away = columns["response"] / mean - 1
        resolution = float(away.std())
        # By how much one shower moves the standard deviation.
        columns["resolution"] = resolution + (away**2 - resolution**2) / (2 * resolution)
        parts.append(np.stack([columns[name] for name in NUMBERS], axis=1))
        each.append(parts[-1].mean(axis=0))
    if member is not None:
        return [np.array(each), np.array(each[0]), parts[0]]
    return [np.array(each), np.mean(each, axis=0), np.mean(parts, axis=0)]


def _difference(
    now: list[NDArray[np.float64]], reference: list[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    members, mean, parts, moved = (a - b for a, b in zip(now, reference, strict=True))
    n = len(members)
    statistical = parts.std(axis=0, ddof=1) / np.sqrt(len(parts))
    ensemble = np.sqrt((n - 1) / n * ((members - mean) ** 2).sum(axis=0))
    calibration = np.abs(moved) / 2
    error = np.sqrt(statistical**2 + ensemble**2 + calibration**2)
    return [now[1], mean, statistical, ensemble, calibration, error]


def _table(rows: Mapping[str, list[NDArray[np.float64]]], seed: int) -> xr.Dataset:
    names = ("value", "difference", "statistical", "ensemble", "calibration", "error")
    variables = {
        name: (
            ("scenario", "number"),
            np.array([row[i] for row in rows.values()]),
            {"units": "as in unit"},
        )
        for i, name in enumerate(names)
    }
    coordinates = {
        "scenario": list(rows),
        "number": list(NUMBERS),
        "unit": ("number", list(NUMBERS.values())),
    }
    return xr.Dataset(variables, coordinates, {"seed": seed})
