"""What would be if: a calibrated twin with something changed, beside the twin as it is.

Both sides are asked with the same random numbers, event by event, so that what they differ in is the
change. The error of a difference has three parts: the finite number of events, the model (members of an
ensemble disagree), and the calibration, whose covariance is propagated along the difference's slopes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import of_members
from physics_twins.parameters import Parameters
from physics_twins.twin.state import TwinState

AS_CALIBRATED = "as calibrated"

P = TypeVar("P", bound=Parameters)


def changed(**values: Any) -> Callable[[P], P]:
    """Return the scenario in which some parameters have these values.

    A scenario is called with the calibrated parameters and returns those to be simulated; it refuses
    a value that is not allowed as the parameters do, with `ParameterError`.
    """
    return lambda parameters: parameters.replace(**values)


@dataclass(frozen=True)
class Answer:
    """What a twin says in one scenario.

    Attributes:
        value: Each number, shape (number,).
        influence: By how much each event moves it, shape (event, number), of mean 0: n times what
            leaving the event out would take away, and 0 for one that does not count.
        least: Least error that so few events allow, shape (number,): a share of 20 events that is 1
            is not known without error.
    """

    value: NDArray[np.float64]
    influence: NDArray[np.float64]
    least: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """From the finite number of events, shape (number,)."""
        n = max(len(self.influence), 1)
        return np.maximum(np.sqrt(np.square(self.influence).sum(axis=0)) / n, self.least)

    def less(self, other: "Answer") -> "Answer":
        """Return this answer less another: event by event where both have the same events."""
        least = np.maximum(self.least, other.least)
        n, m = len(self.influence), len(other.influence)
        if n == m:
            return Answer(self.value - other.value, self.influence - other.influence, least)
        shares = (n + m) / max(n, 1), (n + m) / max(m, 1)
        apart = np.concatenate([shares[0] * self.influence, -shares[1] * other.influence])
        return Answer(self.value - other.value, apart, least)


def mean_of(answers: Sequence[Answer]) -> Answer:
    """Return the mean of what members say; they share their random numbers, so events stay one."""
    columns = zip(*((each.value, each.influence, each.least) for each in answers), strict=True)
    return Answer(*(np.mean(np.array(column), axis=0) for column in columns))


class Asked(ABC, Generic[P]):
    """A calibrated twin that can be asked; each twin says how.

    Attributes:
        numbers: What it tells: by name the unit, and what it is.
        steps: Slopes along a calibrated parameter are taken over its error, or over such a step where
            that is longer.
        lowest: No calibrated parameter goes below it: the step of a slope ends there.
    """

    numbers: Mapping[str, tuple[str, str]]
    steps: Mapping[str, float] = {}
    lowest: float = -np.inf

    @abstractmethod
    def parameters(self, known: Mapping[str, float]) -> P:
        """Return the parameters that these calibrated values stand for."""

    @abstractmethod
    def answers(self, scenario: Callable[[P], P], known: Mapping[str, float]) -> Sequence[Answer]:
        """Return what each member of the model says, with the same random numbers every time."""

    def expected(self, scenario: Callable[[P], P], known: Mapping[str, float]) -> NDArray[np.float64]:
        """Return what is expected at values a step away, shape (number,); not a number: not known."""
        return mean_of(self.answers(scenario, known)).value


def what_if(
    asked: Asked[P], state: TwinState, scenarios: Mapping[str, Callable[[P], P]], *, seed: int
) -> xr.Dataset:
    """Return what changed parameters would do, beside the calibrated twin.

    Args:
        asked: The twin.
        state: The calibrated state.
        scenarios: What turns the calibrated parameters into others, by the scenario's name.
        seed: Of the random numbers, for the record.

    Returns:
        `value` and its `error`, `difference` to the calibrated twin, which is the first scenario, and
        its `difference_error` (scenario, number); of both errors the parts, `error_parts` and
        `difference_parts`, from events, model and calibration (scenario, number, part). The last is
        not a number where it is not known, and then no part of the error.

    Raises:
        ParameterError: A scenario has an unknown parameter or one outside its range.
    """
    known = {name: each.value for name, each in state.parameters.items()}
    errors = {name: each.error for name, each in state.parameters.items() if each.error > 0}
    covariance = state.covariance().sel(parameter=list(errors), other=list(errors)).values
    whole: dict[str, Callable[[P], P]] = {AS_CALIBRATED: changed(), **scenarios}
    for each in whole.values():
        each(asked.parameters(known))  # refused before anything is simulated
    answers = {name: asked.answers(each, known) for name, each in whole.items()}
    slopes = {name: _slopes(asked, each, known, errors) for name, each in whole.items()}
    base, base_slopes = answers[AS_CALIBRATED], slopes[AS_CALIBRATED]
    alone, apart = [], []
    for name in whole:
        alone.append(_with_parts(answers[name], slopes[name], covariance))
        pairs = [a.less(b) for a, b in zip(answers[name], base, strict=True)]
        apart.append(_with_parts(pairs, slopes[name] - base_slopes, covariance))
    units, about = zip(*asked.numbers.values(), strict=True)
    numbers = {"unit": ("number", list(units)), "about": ("number", list(about))}
    coordinates = {"scenario": list(whole), "number": list(asked.numbers)} | numbers
    coordinates["part"] = ["events", "model", "calibration"]
    table = _columns(alone, "value", "error", "error_parts")
    table |= _columns(apart, "difference", "difference_error", "difference_parts")
    return xr.Dataset(table, coordinates, {"seed": seed})


def _slopes(
    asked: Asked[P],
    scenario: Callable[[P], P],
    known: Mapping[str, float],
    errors: Mapping[str, float],
) -> NDArray[np.float64]:
    """Return how a scenario's numbers follow each calibrated parameter, shape (parameter, number)."""
    found = []
    for name, error in errors.items():
        step = max(asked.steps.get(name, 0.0), error)
        lowest = min(asked.lowest, known[name])
        ends = [max(known[name] + side * step, lowest) for side in (-1, 1)]
        low, high = (asked.expected(scenario, {**known, name: end}) for end in ends)
        found.append((high - low) / (ends[1] - ends[0]))
    return np.array(found).reshape(len(errors), len(asked.numbers))


def _with_parts(
    answers: Sequence[Answer], slopes: NDArray[np.float64], covariance: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return the value, and its errors from events, model and calibration, each (number,)."""
    told = mean_of(answers)
    model = of_members([each.value for each in answers])
    # A slope that is not known makes the error of its number not known, and no other.
    square = np.einsum("pn,pq,qn->n", slopes, covariance, slopes)
    return [told.value, told.error, model, np.sqrt(np.maximum(square, 0.0))]


def _columns(rows: list[list[NDArray[np.float64]]], *names: str) -> dict[str, xr.DataArray]:
    """Return values, their errors and the parts of these from (scenario, value or part, number)."""
    told = xr.DataArray(np.array(rows), dims=("scenario", "part", "number"))
    value, parts = told.isel(part=0), told.isel(part=slice(1, None))
    error: Any = np.sqrt((parts**2).sum("part", min_count=1))
    columns = value, error, parts.transpose("scenario", "number", "part")
    words = [name.capitalize().replace("_", " ") for name in names]
    abouts = [{"units": "as in unit", "long_name": each} for each in words]
    return {n: c.assign_attrs(a) for n, c, a in zip(names, columns, abouts, strict=True)}
