"""What a study varies: ranges and choices of parameters, checked against their declarations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from physics_twins.parameters import FieldDescription, ParameterError, unknown
from physics_twins.runs import HOW
from physics_twins.sweeps.tasks import Task

SEED = "seed"


class SpaceError(ValueError):
    """A range or a choice that cannot be searched; the message names the parameter."""


@dataclass(frozen=True)
class SearchSpace:
    """The parameters that a study varies.

    Attributes:
        ranges: Lowest and highest value by name, both included.
        choices: The values to choose from by name.
        logarithmic: Names that are searched in factors.
        whole: Names that take whole numbers only.
    """

    ranges: dict[str, tuple[float, float]]
    choices: dict[str, list[Any]]
    logarithmic: tuple[str, ...]
    whole: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, ranges first."""
        return (*self.ranges, *self.choices)

    @property
    def start(self) -> dict[str, Any]:
        """One point: where every range and every list of choices begins."""
        lowest = {name: low for name, (low, _) in self.ranges.items()}
        return lowest | {name: values[0] for name, values in self.choices.items()}

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Return whether `values` of all names lie inside."""
        inside = all(low <= values[name] <= high for name, (low, high) in self.ranges.items())
        return inside and all(values[name] in allowed for name, allowed in self.choices.items())

    def distributions(self) -> dict[str, Any]:
        """Return the same as Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, Any] = {}
        for name, (low, high) in self.ranges.items():
            factors = name in self.logarithmic
            if name in self.whole:
                found[name] = IntDistribution(int(low), int(high), log=factors)
            else:
                found[name] = FloatDistribution(low, high, log=factors)
        return found | {name: CategoricalDistribution(v) for name, v in self.choices.items()}


def checked(
    task: Task,
    fixed: Mapping[str, Any],
    ranges: Mapping[str, tuple[float, float]],
    choices: Mapping[str, Sequence[Any]],
) -> SearchSpace:
    """Return the space that ranges and choices of a task's parameters span.

    Args:
        task: What is to be tuned.
        fixed: Parameters that all trials share.
        ranges: Lowest and highest value by name.
        choices: Values to choose from by name; text is converted to the parameter's type.

    Raises:
        ParameterError: A name is unknown, or a choice is refused.
        SpaceError: Nothing is varied, a name is given twice, or a range is not one.
    """
    fields = task.fields
    names = [*ranges, *choices]
    if not names:
        raise SpaceError("nothing is varied: give a range or choices of a parameter")
    for name in names:
        if name not in fields:
            raise ParameterError(unknown(name, fields))
        if name == SEED or name in HOW:
            raise SpaceError(f"{name} cannot be tuned: it is no property of what is computed")
        if name in fixed or names.count(name) > 1:
            raise SpaceError(f"{name} is given twice: fix it, or give one range or list of choices")
    whole = tuple(name for name in ranges if fields[name].kind is int)
    return SearchSpace(
        ranges={name: _range(fields[name], *ends) for name, ends in ranges.items()},
        choices={name: _choices(task, fixed, name, values) for name, values in choices.items()},
        logarithmic=tuple(name for name in ranges if fields[name].logarithmic),
        whole=whole,
    )


def baseline(task: Task, fixed: Mapping[str, Any], space: SearchSpace) -> dict[str, Any] | None:
    """Return the defaults of what is varied, None where a parameter has no default.

    Raises:
        ParameterError: A fixed parameter is refused.
    """
    complete = task.check({**space.start, **fixed})
    try:
        complete = task.check(fixed)
    except ParameterError:  # of those that are varied, as the others have been checked
        return None
    return {name: complete[name] for name in space.names}


def _range(info: FieldDescription, low: float, high: float) -> tuple[float, float]:
    shown = f"{info.name} = {low:g} to {high:g}"
    if info.kind not in (int, float) or info.choices:
        raise SpaceError(f"{info.name} has no range: give choices, allowed is {info.allowed}")
    if not low < high:
        raise SpaceError(f"{shown} is no range: it must go upwards")
    if info.kind is int and not (float(low).is_integer() and float(high).is_integer()):
        raise SpaceError(f"{shown} is no range of whole numbers ({info.help})")
    too_low = info.minimum is not None and low < info.minimum
    if too_low or (info.maximum is not None and high > info.maximum):
        raise SpaceError(f"{shown} leaves the allowed range, {info.allowed} ({info.help})")
    if info.logarithmic and low <= 0:
        raise SpaceError(f"{shown} is searched in factors: begin above 0 ({info.help})")
    return (int(low), int(high)) if info.kind is int else (float(low), float(high))


def _choices(task: Task, fixed: Mapping[str, Any], name: str, values: Sequence[Any]) -> list[Any]:
    others = {k: v for k, v in fixed.items() if k != name}
    converted = [task.check({**others, name: value})[name] for value in values]
    if len(set(converted)) < 2 or len(set(converted)) < len(converted):
        shown = ", ".join(map(repr, converted))
        raise SpaceError(f"{name} needs two or more different choices, found {shown}")
    return converted
