"""A trained flow: what draws fields, saved and loaded."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as Folder
from typing import Any

import torch
from torch import Tensor

from physics_twins import models
from physics_twins.lattice.flow.abelian_velocity import AbelianSizes
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.kinds import AnyPath, AnySizes, AnyVelocity, velocity_of
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.velocity import Sizes

_HELD = "Limit: an effective sample size of 1. See the benchmark of the lattice."
CARD = models.Card(
    summary="Draws fields phi^4 on a square lattice with periodic boundaries and says how likely each"
    " is, at one mass and coupling: a continuous flow from a free field, with all its symmetries.",
    data="None but fields of the theories between the free one and its own, which the cluster algorithm"
    " draws while it is trained.",
    limits="One lattice, mass and coupling. Fields must be weighted or accepted by their weights, as"
    " `infer` does; weights are right up to the error of the steps along the flow. In two dimensions"
    " the cluster algorithm draws independent fields faster.",
    held_against=_HELD,
    reproduce="Run the notebook lattice/2_train with the preset of this side and the seed below.",
    data_name="phi4",
    tags=("lattice", "phi4", "normalizing-flow"),
)
GAUGE_CARD = models.Card(
    summary="Draws links of a gauge theory on a square lattice in two dimensions, with periodic"
    " boundaries and Wilson's action, and says how likely each is: a continuous flow that keeps gauge"
    " symmetry.",
    data="None but links of the theories on its path, or its own, which are drawn while it is trained.",
    limits="One theory, lattice and coupling. Links must be weighted or accepted by their weights, as"
    " `infer` does; weights are right up to the error of the steps along the flow. Two dimensions are"
    " easy: plaquettes are independent but for one constraint, and the theory is solved exactly.",
    held_against=_HELD,
    reproduce="Run the notebook lattice/2_train with the preset of this theory and the seed below.",
    data_name="gauge",
    tags=("lattice", "gauge", "normalizing-flow"),
)


@dataclass(frozen=True)
class Flow:
    """A flow from a free field to phi^4, or from links drawn at once to a gauge theory.

    Attributes:
        velocity: In evaluation mode, with the path that it belongs to.
        n_steps: Steps along the flow.
        address: Name and version of the saved model, "" where it is not saved.
    """

    velocity: AnyVelocity
    n_steps: int
    address: str = ""

    @property
    def path(self) -> AnyPath:
        """The theories from what is drawn at once to the flow's own."""
        return self.velocity.path

    @torch.no_grad()
    def draw(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return fields, (field, *shape), and logarithms of their densities, (field,)."""
        generator = torch.Generator().manual_seed(seed)
        found = []
        chunk = self.path.chunk
        for start in range(0, n, chunk):
            free = self.path.draw_prior(min(chunk, n - start), generator)
            phi, log_jacobian = transport(self.velocity, free, n_steps=self.n_steps)
            found.append((self.path.repaired(phi), self.path.prior_log_density(free) - log_jacobian))
        fields, densities = zip(*found, strict=True)
        return torch.cat(fields), torch.cat(densities)

    @torch.no_grad()
    def log_density(self, phi: Tensor) -> Tensor:
        """Return the logarithm of the density of fields, (field,), by the flow backwards."""
        found = []
        for part in phi.split(self.path.chunk):
            free, log_jacobian = transport(
                self.velocity, part, n_steps=self.n_steps, begin=1.0, end=0.0
            )
            found.append(self.path.prior_log_density(self.path.repaired(free)) + log_jacobian)
        return torch.cat(found)

    def log_weights(self, phi: Tensor, log_density: Tensor) -> Tensor:
        """Return logarithms of the weights that fields need, up to a constant."""
        return -self.path.action(phi) - log_density


def flow_of(velocity: AnyVelocity, *, n_steps: int, address: str = "") -> Flow:
    """Return a flow of a trained velocity, which is put into evaluation mode and learns no more."""
    return Flow(velocity.cpu().eval().requires_grad_(False), n_steps, address)


def save_flow(flow: Flow, *, name: str = "", **facts: Any) -> models.Model:
    """Save a flow as the next version of a name, by default its theory and side, as in `u1-flow-16`.

    Args:
        flow: Trained.
        name: Of the model.
        facts: Those of `models.save`: metrics, parameters, seed and so on; the card is known.
    """
    path = flow.path
    config = (
        asdict(path) | asdict(flow.velocity.sizes) | {"theory": path.theory, "n_steps": flow.n_steps}
    )
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    facts.setdefault("card", CARD if path.theory == "phi4" else GAUGE_CARD)
    name = name or f"{path.theory}-flow-{path.shape[0]}"
    return models.save(flow.velocity, name, config=config, **facts)


def load_flow(address: str, *, root: Folder | None = None) -> Flow:
    """Return a saved flow.

    Args:
        address: As in `phi4-flow-8` or `phi4-flow-8/1`.
        root: Where to look for it; by default among your own models and those that ship.

    Raises:
        ModelError: There is none, it is damaged, or it is no flow.
    """
    model = models.find(address, root=root)
    try:
        facts = model.config
        velocity, n_steps = _built(facts), int(facts["n_steps"])
        if not 1 <= n_steps <= 1000:
            raise ValueError("n_steps is outside its range")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise models.ModelError(f"{model}: config.json is not that of a flow: {error}") from None
    model.load_into(velocity)
    return flow_of(velocity, n_steps=n_steps, address=str(model))


def _built(facts: Mapping[str, Any]) -> AnyVelocity:
    """Return the velocity that a configuration tells of, its numbers checked."""
    theory, shape = facts.get("theory", "phi4"), tuple(int(n) for n in facts["shape"])
    n_times = int(facts["n_times"])
    counts = [n_times]
    limits = [1 <= len(shape) <= 4, all(4 <= n <= 256 for n in shape)]
    path: AnyPath
    sizes: AnySizes
    if theory == "phi4":
        path = Path(shape, float(facts["quartic"]), tuple(map(float, facts["masses"])))
        sizes = Sizes(tuple(map(float, facts["bends"])), n_times, int(facts["apart"]))
        limits += [0 < len(path.masses) <= 10, path.free_mass2 > 0, 0 <= sizes.apart <= 10]
        counts.append(len(sizes.bends))
    else:
        path = GaugePath(theory, shape, float(facts["beta"]), float(facts["prior_beta"]))
        limits += [theory in ("u1", "su2", "su3"), len(shape) == 2, 0 < path.beta <= 1000]
        limits.append(path.prior_beta == 0 or (theory == "u1" and 0.5 <= path.prior_beta <= 1000))
        if theory == "u1":
            sizes = AbelianSizes(n_times, int(facts["n_waves"]), int(facts["n_scales"]))
            counts += [sizes.n_waves, sizes.n_scales]
        else:
            sizes = GaugeSizes(n_times, int(facts["n_powers"]), int(facts["reach"]))
            counts.append(sizes.n_powers)
            limits.append(1 <= sizes.reach < min(shape))
    if not all(limits) or not all(1 <= count <= 20 for count in counts):
        raise ValueError("a number is outside its range")
    return velocity_of(path, sizes)
