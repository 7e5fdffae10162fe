"""A trained flow: what draws fields, saved and loaded."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as Folder
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physics_twins import models
from physics_twins.lattice.flow.abelian_velocity import AbelianSizes
from physics_twins.lattice.flow.annealing import annealed
from physics_twins.lattice.flow.checkerboard import LayerSizes
from physics_twins.lattice.flow.coarse_path import CoarsePath, coarse_theory
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.kinds import (
    AnyLayers,
    AnyMap,
    AnyPath,
    AnySizes,
    layers_of,
    velocity_of,
)
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.velocity import Sizes, Velocity

_HELD = "Limit: an effective sample size of 1. See the benchmark of the lattice."
CARD = models.Card(
    summary="Draws fields phi^4 on a square lattice with periodic boundaries and says how likely each"
    " is, at one mass and coupling: a continuous flow with all its symmetries, from free fields, or"
    " from coarse ones of the cluster algorithm with the sites between drawn one by one.",
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
    " boundaries and Wilson's action, and says how likely each is: a flow that keeps gauge symmetry.",
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
        velocity: In evaluation mode, with the path that it belongs to; or coupling layers.
        n_steps: Steps along the flow.
        address: Name and version of the saved model, "" where it is not saved.
        n_stages: Pieces of the path between which `propose` updates fields; 1 for no updates.
    """

    velocity: AnyMap
    n_steps: int
    address: str = ""
    n_stages: int = 1

    @property
    def path(self) -> AnyPath:
        """The theories from what is drawn at once to the flow's own."""
        return self.velocity.path

    @torch.no_grad()
    def draw(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return fields, (field, *shape), and logarithms of their densities, (field,), not updated."""
        found = []
        for free in self._free(n, seed):
            phi, log_jacobian = self._carried(free, back=False)
            found.append((self.path.repaired(phi), self.path.prior_log_density(free) - log_jacobian))
        fields, densities = zip(*found, strict=True)
        return torch.cat(fields), torch.cat(densities)

    @torch.no_grad()
    def log_density(self, phi: Tensor) -> Tensor:
        """Return the logarithm of the density of fields, (field,), by the flow backwards."""
        found = []
        for part in phi.split(self.path.chunk):
            free, log_jacobian = self._carried(part, back=True)
            found.append(self.path.prior_log_density(self.path.repaired(free)) + log_jacobian)
        return torch.cat(found)

    def propose(self, n: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return fields, updated between pieces of the path, and logarithms of their weights."""
        if self.n_stages == 1:
            phi, densities = self.draw(n, seed=seed)
            return phi, self.log_weights(phi, densities)
        rng = np.random.default_rng(seed)
        found = [self._annealed(free, rng, back=False) for free in self._free(n, seed)]
        fields, logs = zip(*found, strict=True)
        return torch.cat(fields), torch.cat(logs)

    def weigh(self, phi: Tensor, *, seed: int) -> Tensor:
        """Return the logarithms of the weights, (field,), with which `propose` gives such fields.

        Args:
            phi: Fields of the theory.
            seed: Of the updates, run backwards.
        """
        if self.n_stages == 1:
            return self.log_weights(phi, self.log_density(phi))
        rng = np.random.default_rng(seed)
        parts = phi.split(self.path.chunk)
        return torch.cat([self._annealed(part, rng, back=True)[1] for part in parts])

    def log_weights(self, phi: Tensor, log_density: Tensor) -> Tensor:
        """Return logarithms of the weights that fields need, up to a constant."""
        return -self.path.action(phi) - log_density

    def _free(self, n: int, seed: int) -> Iterator[Tensor]:
        generator, chunk = torch.Generator().manual_seed(seed), self.path.chunk
        for start in range(0, n, chunk):
            yield self.path.draw_prior(min(chunk, n - start), generator)

    def _carried(self, phi: Tensor, *, back: bool) -> tuple[Tensor, Tensor]:
        if isinstance(self.velocity, AnyLayers):
            return self.velocity(phi, back=back)
        begin, end = (1.0, 0.0) if back else (0.0, 1.0)
        return transport(self.velocity, phi, n_steps=self.n_steps, begin=begin, end=end)

    def _annealed(self, phi: Tensor, rng: np.random.Generator, *, back: bool) -> tuple[Tensor, Tensor]:
        if not isinstance(self.velocity, Velocity):
            raise TypeError(
                f"n_stages = {self.n_stages} must be 1: continuous flows of phi4 alone have more"
            )
        numbers = {"n_stages": self.n_stages, "n_steps": self.n_steps}
        return annealed(self.velocity, phi, rng, **numbers, back=back)


def flow_of(velocity: AnyMap, *, n_steps: int, address: str = "", n_stages: int = 1) -> Flow:
    """Return a flow of a trained velocity, which is put into evaluation mode and learns no more."""
    return Flow(velocity.cpu().eval().requires_grad_(False), n_steps, address, n_stages)


def save_flow(flow: Flow, *, name: str = "", **facts: Any) -> models.Model:
    """Save a flow as the next version of a name, by default its theory and side, as in `u1-flow-16`.

    Args:
        flow: Trained.
        name: Of the model.
        facts: Those of `models.save`: metrics, parameters, seed and so on; the card is known.
    """
    path = flow.path
    config = (
        asdict(path)
        | asdict(flow.velocity.sizes)
        | {"theory": path.theory, "n_steps": flow.n_steps, "n_stages": flow.n_stages}
    )
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    facts.setdefault("card", CARD if path.theory == "phi4" else GAUGE_CARD)
    kind = "coarse" if isinstance(path, CoarsePath) else "flow"
    if isinstance(flow.velocity, AnyLayers):
        kind = "spline" if flow.velocity.sizes.n_bins else "affine"
    name = name or f"{path.theory}-{kind}-{path.shape[0]}"
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
        n_stages = int(facts.get("n_stages", 1))
        if not 1 <= n_stages <= n_steps <= 1000:
            raise ValueError("n_steps or n_stages is outside its range")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise models.ModelError(f"{model}: config.json is not that of a flow: {error}") from None
    model.load_into(velocity)
    return flow_of(velocity, n_steps=n_steps, address=str(model), n_stages=n_stages)


def _built(facts: Mapping[str, Any]) -> AnyMap:
    """Return the velocity or the layers that a configuration tells of, its numbers checked."""
    theory, shape = facts.get("theory", "phi4"), tuple(int(n) for n in facts["shape"])
    limits = [1 <= len(shape) <= 4, all(4 <= n <= 256 for n in shape)]
    path: AnyPath
    sizes: AnySizes
    if theory == "phi4":
        masses = tuple(map(float, facts["masses"]))
        path = Path(shape, float(facts["quartic"]), masses, int(facts.get("power", 1)))
        limits += [1 <= path.power <= 10, 0 < len(path.masses) <= 10, path.free_mass2 > 0]
        if "coarse" in facts:
            of_sites = [tuple(map(float, facts[name])) for name in ("coarse", "middle")]
            path = CoarsePath(shape, path.quartic, path.masses, path.power, *of_sites)
            limits += [len(set(shape)) == 1, len(shape) == 2, shape[0] % 2 == 0]
            limits.append(facts.get("n_stages", 1) == 1)
            for a, b, c in of_sites:
                limits += [abs(a) <= 1e3, 1e-6 <= b <= 1e3, 1e-6 <= c <= 1e3]
            _check(limits)
            coarse_theory(path.coarse, shape[0] // 2)
    else:
        path = GaugePath(theory, shape, float(facts["beta"]), float(facts["prior_beta"]))
        limits += [theory in ("u1", "su2", "su3"), len(shape) == 2, 0 < path.beta <= 1000]
        limits.append(path.prior_beta == 0 or (theory == "u1" and 0.5 <= path.prior_beta <= 1000))
    if "n_layers" in facts:
        of_layers = LayerSizes(*(int(facts[n]) for n in ("n_layers", "n_channels", "n_bins")))
        _check([*limits, of_layers.within])
        return layers_of(path, of_layers)
    n_times = int(facts["n_times"])
    if theory == "phi4":
        sizes = Sizes(tuple(map(float, facts["bends"])), n_times, int(facts["apart"]))
        limits.append(0 <= sizes.apart <= 10)
        counts = [n_times, len(sizes.bends)]
    elif theory == "u1":
        sizes = AbelianSizes(n_times, int(facts["n_waves"]), int(facts["n_scales"]))
        counts = [n_times, sizes.n_waves, sizes.n_scales]
    else:
        sizes = GaugeSizes(n_times, int(facts["n_powers"]), int(facts["reach"]))
        counts = [n_times, sizes.n_powers]
        limits.append(1 <= sizes.reach < min(shape))
    _check([*limits, *(1 <= count <= 20 for count in counts)])
    return velocity_of(path, sizes)


def _check(limits: Iterable[bool]) -> None:
    if not all(limits):
        raise ValueError("a number is outside its range")
