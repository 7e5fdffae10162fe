"""Parameters of the lattice twin: the theory, its lattice, and the chain that samples it."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field

Theory = Literal["phi4", "u1", "su2", "su3"]
Sampler = Literal["best", "hmc", "metropolis", "cluster", "winding", "flux", "heatbath"]
# Which samplers a theory has; the first is meant by "best".
SAMPLERS: dict[Theory, tuple[Sampler, ...]] = {
    "phi4": ("cluster", "hmc", "metropolis"),
    "u1": ("flux", "winding", "hmc", "metropolis", "heatbath"),
    "su2": ("heatbath", "hmc", "metropolis"),
    "su3": ("heatbath", "hmc", "metropolis"),
}


class TheoryParameters(Parameters):
    """A field theory on a lattice; all numbers are in units of the lattice spacing."""

    theory: Theory = field(
        "phi4", help="A scalar field with quartic coupling, or gauge fields U(1), SU(2), SU(3)"
    )
    n_dimensions: int = field(
        2, ge=1, le=4, folded=True, help="Directions of the lattice, time among them"
    )
    side: int = field(16, ge=2, le=1024, logarithmic=True, help="Sites in each direction")
    n_time: int = field(
        0, ge=0, le=1024, folded=True, help="Sites in the direction of time; 0 for as many as elsewhere"
    )
    n_c_directions: int = field(
        0,
        ge=0,
        le=3,
        folded=True,
        help="Directions of space in which gauge fields are C-periodic: conjugated after a turn",
    )
    mass2: float = field(-4.0, ge=-100, le=100, folded=True, help="phi4: bare mass squared")
    quartic: float = field(4.98, ge=0, le=100, help="phi4: coupling lambda")
    beta: float = field(2.0, ge=0, le=1000, help="Gauge fields: inverse coupling beta")

    @property
    def shape(self) -> tuple[int, ...]:
        """Sites in each direction, time first."""
        return (self.n_time or self.side, *[self.side] * (self.n_dimensions - 1))

    @property
    def is_gauge(self) -> bool:
        """Whether the field lives on links."""
        return self.theory != "phi4"

    @model_validator(mode="after")
    def _theory_exists(self) -> Self:
        allowed = {"phi4": (1, 2, 3, 4), "u1": (2,), "su2": (2, 4), "su3": (2, 4)}[self.theory]
        if self.n_dimensions not in allowed:
            raise ValueError(
                f"n_dimensions = {self.n_dimensions}: {self.theory} is here in"
                f" {' or '.join(map(str, allowed))} dimensions"
            )
        if min(self.shape) < 2:
            raise ValueError(f"n_time = {self.n_time} must be 0 or at least 2")
        if self.n_c_directions and not self.is_gauge:
            raise ValueError("n_c_directions must be 0 for phi4, which is real")
        if self.n_c_directions >= self.n_dimensions:
            raise ValueError(
                f"n_c_directions = {self.n_c_directions} must be at most"
                f" {self.n_dimensions - 1}: time is periodic"
            )
        if not self.is_gauge and self.quartic == 0 and self.mass2 <= 0:
            raise ValueError(f"mass2 = {self.mass2:g} must be positive where quartic is 0")
        return self


class ChainParameters(Parameters):
    """How fields are drawn, one from the last."""

    sampler: Sampler = field(
        "best", help="What makes the next field from the last: the theory's best, or one by name"
    )
    n_measurements: int = field(
        1000, ge=10, le=100_000_000, logarithmic=True, help="Measurements in each chain"
    )
    interval: int = field(1, ge=1, le=100_000, folded=True, help="Updates between two measurements")
    n_warmup: int = field(
        500, ge=100, le=100_000_000, folded=True, help="Updates before, in which the sampler is tuned"
    )
    n_chains: int = field(2, ge=1, le=10_000, help="Independent chains")
    n_kept: int = field(
        1,
        ge=0,
        le=100_000,
        folded=True,
        help="Fields of each chain that are kept, the last one among them",
    )
    start: Literal["cold", "hot"] = field(
        "cold", folded=True, help="Whether chains begin ordered or with noise"
    )
    trajectory_length: float = field(
        1.0, ge=0.01, le=100, folded=True, help="hmc, winding, flux: length of a trajectory"
    )
    acceptance: float = field(
        0.8,
        ge=0.1,
        le=0.99,
        folded=True,
        help="hmc, winding, flux: which part of trajectories tuning aims at",
    )
    n_overrelaxations: int = field(
        4, ge=0, le=100, folded=True, help="heatbath: sweeps of overrelaxation after each heat bath"
    )


class LatticeParameters(ChainParameters, TheoryParameters):
    """Chains of fields on a lattice; the defaults are phi4 on 16 x 16 near its critical line."""

    @property
    def method(self) -> str:
        """The sampler by its own name; there is no charge where a direction is C-periodic."""
        if self.sampler != "best":
            return self.sampler
        return "heatbath" if self.n_c_directions else SAMPLERS[self.theory][0]

    @model_validator(mode="after")
    def _sampler_fits(self) -> Self:
        known = SAMPLERS[self.theory]
        if self.method not in known:
            raise ValueError(f"sampler = {self.sampler!r}: {self.theory} has {', '.join(known)}")
        if self.method in ("winding", "flux") and self.n_c_directions:
            raise ValueError(
                f"sampler = {self.method!r} needs n_c_directions = 0: else there is no charge"
            )
        if self.n_kept > self.n_measurements:
            raise ValueError(
                f"n_kept = {self.n_kept} is more than n_measurements = {self.n_measurements}"
            )
        return self


def phi4(shape: Sequence[int], mass2: float, quartic: float, **options: Any) -> LatticeParameters:
    """Return one chain of phi^4 on a lattice of a shape, time first; `options` are further fields."""
    theory = {"n_dimensions": len(shape), "side": shape[-1], "n_time": shape[0]}
    return LatticeParameters(**theory, mass2=mass2, quartic=quartic, n_chains=1, **options)
