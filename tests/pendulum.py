"""The parameters of the pendulum that tests run notebooks about."""

from collections.abc import Mapping
from typing import Any

from physics_twins.parameters import ParameterError, Parameters, field


class PendulumParameters(Parameters):
    """A pendulum that swings a little."""

    length_m: float = field(1.0, ge=0.01, le=100, unit="m", help="Length of the string")
    n_swings: int = field(3, ge=1, le=1000, help="Number of swings")
    damped: bool = field(False, help="Whether it loses energy")
    label: str = field("", help="Name of the experiment")
    log_path: str = field("", help="A file of measured times", input_file=True)


def refuse_long(values: Mapping[str, Any]) -> None:
    """Refuse what a later cell would."""
    if values["length_m"] > 5:
        raise ParameterError("length_m is too long for the later cell")
