"""What a what-if question is made of: a calibrated twin's parameters turned into others."""

from collections.abc import Callable
from typing import Any, TypeVar

from physics_twins.parameters import Parameters

AS_CALIBRATED = "as calibrated"

P = TypeVar("P", bound=Parameters)


def changed(**values: Any) -> Callable[[P], P]:
    """Return the scenario in which some parameters have these values.

    A scenario is called with the calibrated parameters and returns those to be simulated; it refuses
    a value that is not allowed as the parameters do, with `ParameterError`.
    """
    return lambda parameters: parameters.replace(**values)
