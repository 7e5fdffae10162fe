"""What would be if: the calibrated twin with something changed, and what that does to its showers."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import twin
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.observe import gains
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.twin import Answer, TwinState

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


def what_if(
    model: ShowerFlow,
    state: TwinState,
    scenarios: Mapping[str, Scenario],
    *,
    particles: CalorimeterParameters,
    seed: int,
    extrapolate: bool = False,
) -> xr.Dataset:
    """Return what another energy, angle or absorber would do to the showers of a calibrated twin.

    Args:
        model: The flow.
        state: The calibrated state.
        scenarios: What turns the calibrated parameters into others, by the scenario's name: from
            `twin.changed` and `thicker`.
        particles: What enters as calibrated, and how many showers are drawn for each comparison.
        seed: Seed of all draws.
        extrapolate: Whether scenarios may lie outside the range that the flow was trained for.

    Returns:
        As `twin.what_if` does.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
        ValueError: A scenario lies outside the trained range.
    """
    asked = _Showers(model, particles, seed, extrapolate)
    return twin.what_if(asked, state, scenarios, seed=seed)


def thicker(by_mm: float) -> Scenario:
    """Return the scenario of absorbers that are so much thicker, or thinner."""
    return lambda calibrated: calibrated.replace(absorber_mm=calibrated.absorber_mm + by_mm)


class _Showers(twin.Asked[CalorimeterParameters]):
    """The calibrated twin, ready to be asked."""

    numbers = NUMBERS
    steps = _STEPS
    lowest = 0.0

    def __init__(
        self, model: ShowerFlow, particles: CalorimeterParameters, seed: int, extrapolate: bool
    ) -> None:
        self._model, self._particles = model, particles
        self._seed, self._extrapolate = seed, extrapolate
        self._drawn: dict[tuple[object, ...], dict[str, NDArray[np.float64]]] = {}

    def parameters(self, known: Mapping[str, float]) -> CalorimeterParameters:
        told = {name: known[name] for name in _STEPS if name in known}
        if "theta_deg" in told:
            told["theta_max_deg"] = 0.0
        return self._particles.replace(**told)

    def answers(self, scenario: Scenario, known: Mapping[str, float]) -> Sequence[Answer]:
        asked, members = scenario(self.parameters(known)), range(len(self._model.members))
        drawn = (self._columns(asked, n, extrapolate=self._extrapolate) for n in members)
        return [_answer(self._measured(each, asked, known)) for each in drawn]

    def expected(self, scenario: Scenario, known: Mapping[str, float]) -> NDArray[np.float64]:
        asked = scenario(self.parameters(known))
        # A step along a parameter may leave the trained range although the scenario does not.
        drawn = self._columns(asked, None, extrapolate=True)
        return _answer(self._measured(drawn, asked, known)).value

    def _measured(
        self,
        drawn: Mapping[str, NDArray[np.float64]],
        asked: CalorimeterParameters,
        known: Mapping[str, float],
    ) -> dict[str, NDArray[np.float64]]:
        gain = gains(asked.n_showers, known.get("resolution", 0.0), seed=self._seed)
        return {**drawn, "response": drawn["response"] * gain * known.get("energy_scale", 1.0)}

    def _columns(
        self, asked: CalorimeterParameters, member: int | None, *, extrapolate: bool
    ) -> dict[str, NDArray[np.float64]]:
        """Return numbers of the flow's showers, without gain; drawn once for each question."""
        key = (member, *asked.to_papermill().items())
        if key not in self._drawn:
            options = {"seed": self._seed, "member": member, "extrapolate": extrapolate}
            told = features(generate(self._model, asked, **options))
            self._drawn[key] = {name: np.nan_to_num(told[name].values) for name in _OF_SHOWERS}
        return self._drawn[key]


def _answer(columns: Mapping[str, NDArray[np.float64]]) -> Answer:
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
    return Answer(np.array(values), np.stack(influence, axis=1), np.zeros(len(values)))
