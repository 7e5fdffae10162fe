"""Parameters of a flow of phi^4 and of its training."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field

# phi^4 with mass2 = -4 where a square is four correlation lengths wide, by its side.
LINE = {8: 6.008, 16: 4.98, 32: 4.572, 64: 4.398}
# How the flows that ship were trained, by their sides.
SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "8": {"n_fields": 4000, "n_refinements": 2, "n_refining": 6000},
    "16": {"n_fields": 5000, "n_refinements": 2, "n_refining": 6000},
    "32": {
        "n_fields": 3000,
        "n_refinements": 1,
        "n_refining": 3500,
        "n_validation": 500,
        "apart": 1,
        "free_length": 0.14,
        "n_steps": 32,
    },
}


class FlowParameters(Parameters):
    """A flow from a free field to phi^4, and how it is found."""

    side: int = field(8, ge=4, le=256, logarithmic=True, help="Sites in each direction")
    n_dimensions: int = field(2, ge=1, le=4, folded=True, help="Directions of the lattice")
    mass2: float = field(-4.0, ge=-100, le=100, folded=True, help="Bare mass squared")
    quartic: float = field(LINE[8], ge=1e-6, le=100, help="Coupling lambda")
    free_length: float = field(
        0.16,
        ge=0.01,
        le=10,
        folded=True,
        help="Correlation length of the free field, in parts of the side",
    )
    n_fields: int = field(
        4000,
        ge=100,
        le=10**7,
        logarithmic=True,
        help="Fields at each time that the path is learnt from",
    )
    n_path: int = field(
        6000,
        ge=100,
        le=10**7,
        folded=True,
        help="Measurements that each mass on the path is found with",
    )
    apart: int = field(
        10, ge=0, le=10, folded=True, help="Factors of two between smeared fields that are paired"
    )
    n_times: int = field(5, ge=1, le=20, folded=True, help="Polynomials in time of each weight")
    n_slices: int = field(8, ge=1, le=100, folded=True, help="Times at which the path is learnt")
    n_refinements: int = field(0, ge=0, le=10**4, help="Steps of natural gradient after it")
    n_refining: int = field(
        4000, ge=100, le=10**7, logarithmic=True, help="Fields of the flow for each of these steps"
    )
    ridge: float = field(
        1e-3, ge=0, le=1, folded=True, help="Penalty on the velocity's mean square, on the path"
    )
    refining_ridge: float = field(
        1e-2, ge=0, le=1e3, folded=True, help="Penalty on its change, in each step of natural gradient"
    )
    n_steps: int = field(8, ge=1, le=1000, unit="steps", folded=True, help="Steps along the flow")
    n_validation: int = field(2000, ge=10, le=10**6, folded=True, help="Fields that choose the weights")

    preset: Literal["own", "8", "16", "32"] = field(
        "own", help="These parameters, or those of the flow that ships for a side"
    )

    @property
    def chosen(self) -> Self:
        """These parameters, or those that the preset stands for."""
        if self.preset == "own":
            return self
        side = int(self.preset)
        return type(self)(side=side, quartic=LINE[side], **SHIPPED[self.preset])

    @property
    def shape(self) -> tuple[int, ...]:
        """Sites in each direction."""
        return (self.side,) * self.n_dimensions

    @model_validator(mode="after")
    def _is_learnt(self) -> Self:
        if self.n_slices < self.n_times:
            raise ValueError(f"n_slices = {self.n_slices} must be at least n_times = {self.n_times}")
        return self
