"""The numbers of a parametrised shower, each with its error, kept as JSON."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import read_json, write_text


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Numbers(_Record):
    """Fitted numbers that belong together, and their standard errors."""

    values: tuple[float, ...]
    errors: tuple[float, ...]

    @model_validator(mode="after")
    def _have_errors(self) -> Self:
        if len(self.values) != len(self.errors) or min(self.errors, default=0.0) < 0:
            raise ValueError(f"{len(self.values)} values need as many errors, none of them negative")
        return self

    @classmethod
    def of(cls, values: Any, errors: Any) -> Self:
        """Return the numbers of two arrays."""
        return cls(values=tuple(map(float, values)), errors=tuple(map(float, errors)))


class ParametrisedShower(_Record):
    """A shower's mean shape and its fluctuations, where x = ln(energy / 10 GeV).

    Attributes:
        parameters: The calorimeter, and the range of energies and angles, that it was fitted to.
        n_showers: How many showers it was fitted to.
        depth: Mean of ln(mean depth in radiation lengths): at 10 GeV, and per x.
        alpha: Mean of ln(alpha), alpha the exponent of the longitudinal profile: the same two.
        fluctuation: Logarithm of the standard deviation of both, at 10 GeV and per x; then artanh of
            their correlation, at 10 GeV and per x.
        deposited: Energy left in all matter by an endless calorimeter in MeV per GeV, its change per x
            (relative); its relative spread at 1 GeV that falls with the root of energy; and the rest.
        seen: The same four of the energy in the sensors.
        slice_grain_mev: Variance over mean of the energy in a slice of a shower of given shape.
        core: ln(radius of the core in mm): constant, per tau, per tau squared, per x.
        tail: The same of the tail.
        core_share: The same of the logit of the share of the core.
        outside: Factor on the energy outside all rings that these give.
        faintest_mev: A part of a shower with less energy is empty: none of its particles was there.
        cell_grain_mev: Variance over mean of the energy in a cell, ring by ring.
    """

    parameters: CalorimeterParameters
    n_showers: int
    depth: Numbers
    alpha: Numbers
    fluctuation: Numbers
    deposited: Numbers
    seen: Numbers
    slice_grain_mev: Numbers
    core: Numbers
    tail: Numbers
    core_share: Numbers
    outside: Numbers
    faintest_mev: Numbers
    cell_grain_mev: Numbers

    @model_validator(mode="after")
    def _has_all_numbers(self) -> Self:
        lengths = {"depth": 2, "alpha": 2, "fluctuation": 6, "deposited": 4, "seen": 4}
        lengths |= {
            "slice_grain_mev": 1,
            "core": 4,
            "tail": 4,
            "core_share": 4,
            "outside": 1,
            "faintest_mev": 1,
        }
        for name, length in lengths.items():
            if len(getattr(self, name).values) != length:
                raise ValueError(f"{name} must have {length} values")
        if min(*self.slice_grain_mev.values, *self.cell_grain_mev.values) <= 0:
            raise ValueError("slice_grain_mev and cell_grain_mev must be positive")
        return self

    @property
    def rings(self) -> NDArray[np.float64]:
        """The 12 numbers of the radial profile."""
        return np.array([*self.core.values, *self.tail.values, *self.core_share.values])

    def save(self, path: str | Path) -> Path:
        """Write it as JSON in one step; return the path."""
        path = Path(path)
        write_text(path, self.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds something else; the message names file and field.
        """
        path = Path(path)
        values = read_json(path)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "model"
            raise ValueError(f"{path}: {where}: {first['msg']}") from None
        except ValueError as error:
            raise ValueError(f"{path}: parameters: {error}") from None
