"""What would be if: the calibrated twin with something changed, and what that does to its showers.

Both sides are drawn with the same random numbers, shower by shower, so that what they differ in is the
change. The error of a difference has three parts: the finite number of showers, the flow (its members
disagree), and the calibration (its parameters have errors).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.infer import ensemble_error, generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.observe import gains
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.twin import Estimate, TwinState
from physics_twins.twin.scenarios import AS_CALIBRATED

Scenario = Callable[[CalorimeterParameters], CalorimeterParameters]
# What is told of the showers of a scenario, its unit, and what it is.
NUMBERS: Mapping[str, tuple[str, str]] = {
    "response": ("1", "Mean of visible over incident energy"),
    "resolution": ("1", "Standard deviation of the visible energy over its mean"),
    "depth_mm": ("mm", "Mean centre of gravity along the beam"),
    "length_mm": ("mm", "Mean standard deviation of the energy along the beam"),
    "radius_mm": ("mm", "Mean distance of the energy from the beam"),
}
_OF_SHOWERS = ("response", "depth_mm", "length_mm", "radius_mm")
# Slopes along a calibrated parameter are taken over such steps, wider than its error.
_STEPS: Mapping[str, float] = {"absorber_mm": 0.04, "theta_deg": 4.0}


@dataclass(frozen=True)
class WhatIf:
    """Scenarios side by side, that of the calibrated twin first.

    Attributes:
        parameters: What each scenario is, by name.
        table: `value` and its `error`; `difference` to the calibrated twin, its `difference_error`, and
            the parts of that, `from_showers`, `from_flow` and `from_calibration` (scenario, number).
    """

    parameters: dict[str, CalorimeterParameters]
    table: xr.Dataset


def what_if(
    model: ShowerFlow,
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    particles: CalorimeterParameters,
    seed: int,
    extrapolate: bool = False,
) -> WhatIf:
    """Return what another energy, angle or absorber would do to the showers of a calibrated twin.

    Args:
        model: The flow.
        state: The calibrated state.
        scenarios: What turns the calibrated parameters into others, by the scenario's name: from
            `scenarios.changed` and `thicker`.
        particles: What enters as calibrated, and how many showers are drawn for each comparison.
        seed: Seed of all draws.
        extrapolate: Whether scenarios may lie outside the range that the flow was trained for.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
        ValueError: A scenario lies outside the trained range.
    """
    asked = {AS_CALIBRATED: (lambda same: same), **scenarios}
    twin = _Twin(model, state.parameters, particles, seed, extrapolate)
    values = {name: twin.numbers(scenario) for name, scenario in asked.items()}
    slopes = {name: twin.slopes(scenario) for name, scenario in asked.items()}
    base, base_slopes = values[AS_CALIBRATED], slopes[AS_CALIBRATED]
    errors = {name: each.error for name, each in state.parameters.items()}
    rows = []
    for name in asked:
        alone = _Parts.of(values[name], slopes[name], errors)
        away = {key: slopes[name][key] - base_slopes[key] for key in base_slopes}
        apart = _Parts.of([a.less(b) for a, b in zip(values[name], base, strict=True)], away, errors)
        rows.append([alone.value, alone.error, apart.value, apart.error, *apart.parts])
    columns = ["value", "error", "difference", "difference_error"]
    columns += ["from_showers", "from_flow", "from_calibration"]
    table = _table(np.array(rows), columns, list(asked), seed)
    return WhatIf({name: scenario(twin.base) for name, scenario in asked.items()}, table)


def thicker(by_mm: float) -> Scenario:
    """Return the scenario of absorbers that are so much thicker, or thinner."""
    return lambda calibrated: calibrated.replace(absorber_mm=calibrated.absorber_mm + by_mm)


@dataclass(frozen=True)
class _Seen:
    """Numbers of one member's showers: their values, and what each shower adds, (shower, number)."""

    value: NDArray[np.float64]
    influence: NDArray[np.float64]

    def less(self, other: "_Seen") -> "_Seen":
        return _Seen(self.value - other.value, self.influence - other.influence)


@dataclass(frozen=True)
class _Parts:
    value: NDArray[np.float64]
    parts: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(
        cls,
        members: list[_Seen],
        slopes: Mapping[str, NDArray[np.float64]],
        errors: Mapping[str, float],
    ) -> "_Parts":
        values = np.array([each.value for each in members])
        mean = values.mean(axis=0)
        # Members draw with the same random numbers: their showers are no independent ones.
        influence = np.mean([each.influence for each in members], axis=0)
        showers = influence.std(axis=0, ddof=1) / np.sqrt(len(influence))
        flow = ensemble_error(values)
        known = np.sqrt(sum((slopes[name] * errors[name]) ** 2 for name in slopes) + 0 * mean)
        return cls(mean, (showers, flow, known))

    @property
    def error(self) -> NDArray[np.float64]:
        return np.sqrt(np.square(self.parts).sum(axis=0))


class _Twin:
    """The calibrated twin, ready to be asked."""

    def __init__(
        self,
        model: ShowerFlow,
        parameters: Mapping[str, Estimate],
        particles: CalorimeterParameters,
        seed: int,
        extrapolate: bool,
    ) -> None:
        self.model, self.seed, self.extrapolate = model, seed, extrapolate
        self.known = {name: each.value for name, each in parameters.items()}
        self.errors = {name: each.error for name, each in parameters.items()}
        self.base = _calibrated(particles, self.known)
        self._drawn: dict[tuple[object, ...], dict[str, NDArray[np.float64]]] = {}

    def numbers(self, scenario: Scenario) -> list[_Seen]:
        """Return the numbers of a scenario under each member."""
        asked = scenario(self.base)
        return [self._seen(asked, self.known, member) for member in range(len(self.model.members))]

    def slopes(self, scenario: Scenario) -> dict[str, NDArray[np.float64]]:
        """Return how a scenario's numbers follow each calibrated parameter that has an error."""
        found = {}
        for name, error in self.errors.items():
            if error <= 0:
                continue
            step = max(_STEPS.get(name, 0.0), error)
            low, high = (self.known | {name: self.known[name] + side * step} for side in (-1, 1))
            low[name] = max(low[name], 0.0)
            ends = [
                self._seen(scenario(_calibrated(self.base, each)), each, None, beyond=name in _STEPS)
                for each in (low, high)
            ]
            found[name] = (ends[1].value - ends[0].value) / (high[name] - low[name])
        return found

    def _seen(
        self,
        asked: CalorimeterParameters,
        known: Mapping[str, float],
        member: int | None,
        *,
        beyond: bool = False,
    ) -> _Seen:
        columns = dict(self._columns(asked, member, beyond=beyond))
        gain = gains(asked.n_showers, known.get("resolution", 0.0), seed=self.seed)
        columns["response"] = columns["response"] * gain * known.get("energy_scale", 1.0)
        return _seen(columns)

    def _columns(
        self, asked: CalorimeterParameters, member: int | None, *, beyond: bool
    ) -> dict[str, NDArray[np.float64]]:
        """Return numbers of the flow's showers, without gain; drawn once for each question."""
        key = (member, *asked.to_papermill().items())
        if key not in self._drawn:
            # A step along a parameter may leave the trained range although the scenario does not.
            allowed = self.extrapolate or beyond
            options = {"seed": self.seed, "member": member, "extrapolate": allowed}
            told = features(generate(self.model, asked, **options))
            self._drawn[key] = {name: np.nan_to_num(told[name].values) for name in _OF_SHOWERS}
        return self._drawn[key]


def _calibrated(particles: CalorimeterParameters, known: Mapping[str, float]) -> CalorimeterParameters:
    told = {name: known[name] for name in ("absorber_mm", "theta_deg") if name in known}
    if "theta_deg" in told:
        told["theta_max_deg"] = 0.0
    return particles.replace(**told)


def _seen(columns: Mapping[str, NDArray[np.float64]]) -> _Seen:
    response = columns["response"]
    mean, sigma = response.mean(), response.std(ddof=1)
    away = response - mean
    values, influence = [], []
    for name in NUMBERS:
        if name == "resolution":
            values.append(sigma / mean)
            influence.append((away**2 - sigma**2) / (2 * sigma * mean) - sigma * away / mean**2)
        else:
            values.append(columns[name].mean())
            influence.append(columns[name] - columns[name].mean())
    return _Seen(np.array(values), np.stack(influence, axis=1))


def _table(
    rows: NDArray[np.float64], columns: list[str], scenarios: list[str], seed: int
) -> xr.Dataset:
    variables = {
        name: (
            ("scenario", "number"),
            rows[:, n],
            {"units": "as in unit", "long_name": name.capitalize().replace("_", " ")},
        )
        for n, name in enumerate(columns)
    }
    coordinates = {
        "scenario": ("scenario", np.array(scenarios)),
        "number": ("number", np.array(list(NUMBERS))),
        "unit": ("number", np.array([unit for unit, _ in NUMBERS.values()])),
        "about": ("number", np.array([about for _, about in NUMBERS.values()])),
    }
    return xr.Dataset(variables, coordinates, {"seed": seed})
