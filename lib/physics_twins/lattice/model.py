"""The trained flow of phi^4: what draws fields, saved, loaded, and carried to a larger lattice."""

from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any

import torch
from torch import Tensor

from physics_twins import models
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.velocity import Sizes, Velocity

NAME = "phi4-flow"
CARD = models.Card(
    summary="Draws fields phi^4 on a square lattice with periodic boundaries and says how likely each"
    " is, at one mass and coupling: a continuous flow from a free field, with all its symmetries.",
    data="None but fields of the theories between the free one and its own, which the cluster algorithm"
    " draws while it is trained.",
    limits="One lattice, mass and coupling. Fields must be weighted or accepted by their weights, as"
    " `infer` does; weights are right up to the error of the steps along the flow. In two dimensions"
    " the cluster algorithm draws independent fields faster.",
    held_against="Limit: an effective sample size of 1. See the benchmark of the lattice.",
    reproduce="Run the notebook lattice/2_train with the preset of this side and the seed below.",
    data_name="phi4",
    tags=("lattice", "phi4", "normalizing-flow"),
)


@dataclass(frozen=True)
class PhiFlow:
    """A flow from a free field to phi^4.

    Attributes:
        velocity: In evaluation mode, with the path that it belongs to.
        n_steps: Steps along the flow.
        address: Name and version of the saved model, "" where it is not saved.
    """

    velocity: Velocity
    n_steps: int
    address: str = ""

    @property
    def path(self) -> Path:
        """The theories from the free field to the flow's own."""
        return self.velocity.path

    @torch.no_grad()
    def draw(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return fields, (field, *shape), and logarithms of their densities, (field,)."""
        generator = torch.Generator().manual_seed(seed)
        found = []
        chunk = self.path.chunk
        for start in range(0, n, chunk):
            free = self.path.draw_free(min(chunk, n - start), generator)
            phi, log_jacobian = transport(self.velocity, free, n_steps=self.n_steps)
            found.append((phi, self.path.free_log_density(free) - log_jacobian))
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
            found.append(self.path.free_log_density(free) + log_jacobian)
        return torch.cat(found)

    def log_weights(self, phi: Tensor, log_density: Tensor) -> Tensor:
        """Return logarithms of the weights that fields need, up to a constant."""
        return -self.path.action(phi) - log_density


def flow_of(velocity: Velocity, *, n_steps: int, address: str = "") -> PhiFlow:
    """Return a flow of a trained velocity, which is put into evaluation mode and learns no more."""
    return PhiFlow(velocity.cpu().eval().requires_grad_(False), n_steps, address)


def embedded(flow: PhiFlow, path: Path) -> PhiFlow:
    """Return a flow on a larger lattice with the weights of one on a smaller; new ones are 0."""
    small = flow.velocity
    large = Velocity(path, small.sizes)
    rows, columns = (
        [names.index(name) for name in own] for names, own in zip(large.names, small.names, strict=True)
    )
    with torch.no_grad():
        large.weights[:, torch.tensor(rows)[:, None], torch.tensor(columns)] = small.weights
    return flow_of(large, n_steps=flow.n_steps)


def save_flow(flow: PhiFlow, *, name: str = "", **facts: Any) -> models.Model:
    """Save a flow as the next version of a name, by default `NAME` and the side of its lattice.

    Args:
        flow: Trained.
        name: Of the model.
        facts: Those of `models.save`: card, metrics, parameters, seed and so on.
    """
    path, sizes = flow.path, flow.velocity.sizes
    config = {
        "shape": list(path.shape),
        "quartic": path.quartic,
        "masses": list(path.masses),
        "bends": list(sizes.bends),
        "apart": sizes.apart,
        "n_times": sizes.n_times,
        "n_steps": flow.n_steps,
    }
    return models.save(flow.velocity, name or f"{NAME}-{path.shape[0]}", config=config, **facts)


def load_flow(address: str, *, root: Folder | None = None) -> PhiFlow:
    """Return a saved flow.

    Args:
        address: As in `phi4-flow-8` or `phi4-flow-8/1`.
        root: Where to look for it; by default among your own models and those that ship.

    Raises:
        ModelError: There is none, it is damaged, or it is no flow of phi^4.
    """
    model = models.find(address, root=root)
    try:
        facts = model.config
        shape = tuple(int(n) for n in facts["shape"])
        path = Path(shape, float(facts["quartic"]), tuple(map(float, facts["masses"])))
        sizes = Sizes(tuple(map(float, facts["bends"])), int(facts["n_times"]), int(facts["apart"]))
        n_steps = int(facts["n_steps"])
        limits = [1 <= len(shape) <= 4, all(4 <= n <= 256 for n in shape), 0 < len(path.masses) <= 10]
        limits += [path.free_mass2 > 0, 0 <= sizes.apart <= 10]
        limits += [1 <= n_steps <= 1000, 1 <= sizes.n_times <= 20, 1 <= len(sizes.bends) <= 10]
        if not all(limits):
            raise ValueError("a number is outside its range")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise models.ModelError(f"{model}: config.json is not that of a flow: {error}") from None
    velocity = Velocity(path, sizes)
    model.load_into(velocity)
    return flow_of(velocity, n_steps=n_steps, address=str(model))
