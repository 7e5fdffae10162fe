"""Parameters of matching a telescope: which recording, and what is made from its fit."""

import re
from typing import Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class TelescopeParameters(Parameters):
    """A recording whose telescope is imitated, and the observations that are made like it."""

    recording_path: str = field(
        "",
        input_file=True,
        help="A SIGPROC, PSRFITS or PSRDADA file; empty matches a simulated recording",
    )
    lookalike_name: str = field(
        "night.fil", help="Name of the look-alike that is kept in the run: .fil or, for PSRFITS, .sf"
    )
    lookalike_s: float = field(
        1.0, ge=0.01, le=1e6, unit="s", help="Length of the look-alike that is kept"
    )
    n_injected: int = field(3, ge=0, le=1000, help="Pulses that are put into a copy of it")
    sefd_jy: float = field(
        14.0, ge=1e-3, le=1e6, unit="Jy", help="The telescope's system temperature over its gain"
    )

    @model_validator(mode="after")
    def _name_is_a_telescope_file(self) -> Self:
        if not re.fullmatch(r"[\w.+-]+\.(fil|sf)", self.lookalike_name):
            raise ValueError(
                f"lookalike_name = {self.lookalike_name!r}: expected a file name without folder that"
                " ends in .fil or .sf"
            )
        return self
