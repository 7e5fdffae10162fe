"""Parameters of a flow and of its training."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.lattice.parameters import Theory
from physics_twins.parameters import Parameters, field

# phi^4 with mass2 = -4 where a square is four correlation lengths wide, by its side.
LINE = {8: 6.008, 16: 4.98, 32: 4.572, 64: 4.398}
_GAUGE_LAYERS = {
    "kind": "spline",
    "n_layers": 4,
    "n_channels": 4,
    "n_batch": 64,
    "n_gradient": 50,
    "learning_rate": 1.5e-3,
    "n_validation": 500,
}
# How flows that ship were trained, of phi^4 by sides and of gauge theories; and coupling layers at 8^2.
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
    "64": {
        "n_fields": 1200,
        "n_path": 4000,
        "search": "tadpole",
        "apart": 1,
        "n_steps": 16,
        "n_stages": 16,
        "n_validation": 10,
    },
    "coarse": {
        "prior": "coarse",
        "side": 16,
        "quartic": LINE[16],
        "n_fields": 2000,
        "apart": 1,
        "n_times": 3,
        "n_slices": 5,
        "n_refinements": 3,
        "n_refining": 2000,
        "n_steps": 4,
        "n_validation": 1000,
    },
    "affine": {"kind": "affine", "n_channels": 8, "n_batch": 64, "n_gradient": 500},
    "spline": {"kind": "spline", "n_channels": 8, "n_batch": 64, "n_gradient": 250},
    "u1-spline": {"theory": "u1", **_GAUGE_LAYERS},
    "su2-spline": {"theory": "su2", "beta": 2.2, **_GAUGE_LAYERS},
    "u1": {
        "theory": "u1",
        "side": 16,
        "beta": 7.0,
        "prior_beta": 6.461,
        "n_times": 3,
        "n_waves": 3,
        "n_scales": 1,
        "n_steps": 2,
        "n_refinements": 3,
        "n_refining": 1000,
        "refining_ridge": 1e-3,
    },
    "su2": {
        "theory": "su2",
        "beta": 2.2,
        "n_fields": 800,
        "ridge": 1e-2,
        "n_refinements": 1,
        "n_refining": 500,
        "n_validation": 200,
    },
    "su3": {
        "theory": "su3",
        "beta": 6.0,
        "n_fields": 500,
        "ridge": 1e-2,
        "n_validation": 100,
    },
}


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())


class FlowParameters(Parameters):
    """A flow from a free field to phi^4, or from independent links to a gauge theory in 2D."""

    theory: Theory = field("phi4", help="A scalar field, or gauge fields U(1), SU(2), SU(3) in 2D")
    side: int = field(8, ge=4, le=256, logarithmic=True, help="Sites in each direction")
    n_dimensions: int = field(2, ge=1, le=4, folded=True, help="Directions of the lattice")
    mass2: float = field(-4.0, ge=-100, le=100, folded=True, help="Bare mass squared")
    quartic: float = field(LINE[8], ge=1e-6, le=100, help="phi4: coupling lambda")
    beta: float = field(2.0, ge=1e-6, le=1000, help="Gauge fields: inverse coupling beta")
    prior_beta: float = field(
        0.0,
        ge=0,
        le=1000,
        folded=True,
        help="u1: inverse coupling of the heat kernel that it begins at; 0 for independent links",
    )
    prior: Literal["free", "coarse"] = field(
        "free",
        help="phi4: what a flow begins at, free fields, or coarse ones of the cluster algorithm and"
        " sites between them",
    )
    kind: Literal["continuous", "affine", "spline"] = field(
        "continuous", help="A continuous flow, or coupling layers: affine ones of phi4 alone"
    )
    n_layers: int = field(
        8,
        ge=1,
        le=100,
        folded=True,
        help="Coupling layers: their number, of gauge fields after the sweep",
    )
    n_channels: int = field(
        16, ge=1, le=1000, folded=True, help="Coupling layers: channels of each network"
    )
    n_bins: int = field(6, ge=1, le=32, folded=True, help="spline: bins on one side of zero")
    n_gradient: int = field(
        600, ge=1, le=10**7, logarithmic=True, folded=True, help="Coupling layers: steps of training"
    )
    n_batch: int = field(128, ge=2, le=10**6, folded=True, help="Coupling layers: fields in each")
    learning_rate: float = field(
        1e-2, ge=1e-6, le=1, folded=True, help="Coupling layers: of Adam at the start; ends at 0"
    )
    n_waves: int = field(4, ge=1, le=20, folded=True, help="u1: multiples of angles in sines")
    n_scales: int = field(
        3, ge=1, le=8, folded=True, help="u1: lengths that sines and cosines are smeared over"
    )
    reach: int = field(
        7, ge=1, le=100, folded=True, help="su2, su3: plaquettes on either side that move a link"
    )
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
    search: Literal["line", "tadpole"] = field(
        "line", folded=True, help="What masses on the path are first guessed from; tadpole from 64 on"
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
    n_stages: int = field(
        1,
        ge=1,
        le=1000,
        folded=True,
        help="phi4: pieces of the path between which fields are updated by the cluster algorithm",
    )
    n_validation: int = field(2000, ge=10, le=10**6, folded=True, help="Fields that choose the weights")

    preset: Literal[
        "own",
        "8",
        "16",
        "32",
        "64",
        "coarse",
        "affine",
        "spline",
        "u1",
        "su2",
        "su3",
        "u1-spline",
        "su2-spline",
    ] = field(
        "own",
        help="These parameters, or those of a flow that ships, phi4 by its side, or of coupling layers",
    )

    @property
    def chosen(self) -> Self:
        """These parameters, or those that the preset stands for."""
        if self.preset == "own":
            return self
        values = dict(SHIPPED[self.preset])
        if self.preset.isdigit():
            values |= {"side": int(self.preset), "quartic": LINE[int(self.preset)]}
        return type(self)(**values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sites in each direction."""
        return (self.side,) * self.n_dimensions

    @property
    def learns_path(self) -> bool:
        """Whether chains can draw the theories between, which a first step learns from."""
        return self.prior == "free" and (self.theory != "u1" or self.prior_beta == 0)

    @model_validator(mode="after")
    def _fits_theory(self) -> Self:
        if self.theory != "phi4" and (self.kind == "affine" or self.n_stages > 1):
            raise ValueError(
                f"kind = {self.kind!r} and n_stages = {self.n_stages}: theory = {self.theory!r} has"
                " 'continuous' or 'spline', and n_stages = 1"
            )
        if self.theory != "phi4" and self.kind == "spline" and self.side % 4:
            raise ValueError(
                f"side = {self.side} must be a multiple of 4: {self.theory}, kind = 'spline'"
            )
        if self.kind != "continuous" and (self.side % 2 or self.n_stages > 1):
            raise ValueError(f"kind = {self.kind!r} needs an even side, and n_stages = 1")
        if self.n_stages > self.n_steps:
            raise ValueError(f"n_stages = {self.n_stages} must be at most n_steps = {self.n_steps}")
        if self.theory != "phi4" and self.n_dimensions != 2:
            raise ValueError(f"n_dimensions = {self.n_dimensions}: flows of gauge fields have 2")
        if self.prior_beta and (self.theory != "u1" or self.prior_beta < 0.5):
            raise ValueError(f"prior_beta = {self.prior_beta:g} must be 0, or of u1 at least 0.5")
        if self.theory in ("su2", "su3") and self.kind == "continuous" and self.reach >= self.side:
            raise ValueError(f"reach = {self.reach} must be less than side = {self.side}")
        return self

    @model_validator(mode="after")
    def _fits_prior(self) -> Self:
        asked = {"theory": "phi4", "kind": "continuous", "n_dimensions": 2, "n_stages": 1}
        found = {name: getattr(self, name) for name in asked}
        if self.prior == "coarse" and (found != asked or self.side % 2):
            raise ValueError(
                f"prior = 'coarse' needs {_listed(asked)} and an even side, found {_listed(found)} and"
                f" side = {self.side}"
            )
        least = -4 - (2 * self.quartic) ** 0.5
        if self.prior == "coarse" and self.mass2 < least:
            raise ValueError(
                f"mass2 = {self.mass2:g} must be at least {least:.4g} with prior = 'coarse': deeper"
                " minima of a site are not drawn"
            )
        return self

    @model_validator(mode="after")
    def _is_learnt(self) -> Self:
        if self.kind == "continuous" and not self.learns_path and self.n_refinements == 0:
            raise ValueError(
                f"n_refinements = 0 must be at least 1 with prior = {self.prior!r} and"
                f" prior_beta = {self.prior_beta:g}, from where there is no path to learn"
            )
        if self.n_slices < self.n_times:
            raise ValueError(f"n_slices = {self.n_slices} must be at least n_times = {self.n_times}")
        return self
