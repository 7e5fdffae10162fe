"""Begin at coarse fields, which the cluster algorithm draws, and draw the sites between one by one.

Of every four sites of a square one belongs to a coarse lattice, which has a phi^4 theory of its own.
Then the sites in the middle of four of those are drawn given the four, and all that are left given
their four neighbours, which is exact, as no two of them are neighbours. Each site is drawn from

    q(x | n) = exp(-a x^2 - b x^4 + c n x) / z(n),

with n the sum of the four. Which sites are coarse is drawn, too, and the density is the mean of all
four choices: else translations would be no symmetry of it, and a flow that has them could not become
exact. What is left to learn is what the coarse theory and the middle sites leave out. Singha et al.
2026 (arXiv 2604.10209) refine coarse fields, too, with mixtures of Gaussians.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.parameters import LatticeParameters, phi4
from physics_twins.lattice.simulate import simulate

Couplings = tuple[float, ...]  # a, b and c of one site
_INTERVAL = 16  # updates between coarse fields, which the cluster forgets in some three
_N_FITTED, _N_NEWTON = 20_000, 4  # sites; steps
_FAR, _N_NODES, _N_ROOT = 6.0, 49, 8  # nodes up to so many widths; steps to a root


@dataclass(frozen=True)
class CoarsePath(Path):
    """A coarse field and sites between at time 0, phi^4 at time 1; there are no theories between.

    Attributes:
        coarse: Of one coarse site, given its neighbours on the coarse lattice.
        middle: Of one site in the middle of four coarse ones.
    """

    coarse: Couplings = (0.0, 1.0, 2.0)
    middle: Couplings = (0.0, 1.0, 2.0)

    def __post_init__(self) -> None:
        """Refuse sites with two deep minima, of which `log_density` would be wrong.

        Raises:
            ValueError: So are those of the theory, or those in the middle.
        """
        for name, (a, b, _) in (("mass2 and quartic", self.exact), ("middle", self.middle)):
            if a < 0 and a * a > 2 * b:
                raise ValueError(f"{name} give a site {a:g} x^2 + {b:g} x^4, whose minima are too deep")

    @property
    def exact(self) -> Couplings:
        """Of one site given its neighbours, in the theory itself."""
        return 4 + self.mass2, self.quartic, 2.0

    def draw_prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return fields drawn at time 0, (field, *shape)."""
        seed = int(torch.randint(2**31, (), generator=generator))
        phi = torch.zeros(n, *self.shape, dtype=torch.float64)
        phi[:, ::2, ::2] = coarse_fields(self.coarse, self.shape[0] // 2, n, seed=seed)
        phi[:, 1::2, 1::2] = drawn(diagonal(phi)[:, 1::2, 1::2], self.middle, generator)
        left = ((torch.arange(self.shape[0])[:, None] + torch.arange(self.shape[1])) % 2).bool()
        phi[:, left] = drawn(near(phi)[:, left], self.exact, generator)
        for axis in self.axes:
            moves = torch.randint(2, (n,), generator=generator).bool()
            phi[moves] = phi[moves].roll(1, axis)
        return phi

    def prior_log_density(self, phi: Tensor) -> Tensor:
        """Return the logarithm of the density at time 0, (field,), up to a constant nobody knows."""
        fields = by_parity(phi)
        middle = by_parity(log_density(phi, diagonal(phi), self.middle)).sum(self.axes)
        left = by_parity(log_density(phi, near(phi), self.exact)).sum(self.axes)
        coarse = -energy(fields, self.coarse).sum(self.axes)
        logs = coarse + middle.flip(1, 2) + left.flip(1) + left.flip(2)  # by which sites are coarse
        return logs.flatten(1).logsumexp(1)

    def gradient(self, phi: Tensor, time: float = 1.0) -> Tensor:
        """Return the gradient of the action, at time 0 of minus the logarithm of the density."""
        if time:
            return super().gradient(phi, time)
        with torch.enable_grad():
            phi = phi.detach().requires_grad_()
            return -torch.autograd.grad(self.prior_log_density(phi).sum(), phi)[0]


def coarse_path_to(path: Path, *, n: int, seed: int) -> CoarsePath:
    """Return a path that begins at fields as near to the theory as couplings of sites can make them.

    Args:
        path: To the theory, in two dimensions with an even side; at its first mass the flow's functions
            are measured.
        n: Fields of the theory, from the cluster algorithm, that they are found with.
        seed: Of these and of coarse fields.
    """
    fields = draw(path, 1.0, n, seed=seed)
    first = (4 + path.mass2, path.quartic, 1.0)
    middle = fitted(fields[:, 1::2, 1::2], diagonal(fields)[:, 1::2, 1::2], first)
    coarse = fitted(fields[:, ::2, ::2], near(fields[:, ::2, ::2]), first)
    asked = _terms(fields[:, ::2, ::2]).mean(1)
    for step in range(_N_NEWTON):  # of the likelihood of whole fields: slopes of means are covariances
        found = _terms(coarse_fields(coarse, path.shape[0] // 2, n, seed=seed + step + 1))
        change = np.linalg.solve(np.cov(found), asked - found.mean(1))
        coarse = tuple(map(float, coarse + change))
    return CoarsePath(path.shape, path.quartic, path.masses, coarse=coarse, middle=middle)


def coarse_theory(couplings: Couplings, side: int, **options: Any) -> LatticeParameters:
    """Return the coarse theory as `simulate` knows it, whose neighbours have c = 2."""
    a, b, c = couplings
    return phi4((side, side), 2 * a / c - 4, 4 * b / c**2, **options)


def coarse_fields(couplings: Couplings, side: int, n: int, *, seed: int) -> Tensor:
    """Return fields of the coarse theory by the cluster algorithm, (field, side, side)."""
    options = {"n_measurements": max(n, 10), "n_kept": max(n, 10), "interval": _INTERVAL}
    fields = simulate(coarse_theory(couplings, side, **options), seed=seed)["field"].values
    return math.sqrt(2 / couplings[2]) * torch.from_numpy(fields[0, -n:])


def near(phi: Tensor) -> Tensor:
    """Return sums over the four nearest neighbours."""
    return phi.roll(1, -1) + phi.roll(-1, -1) + phi.roll(1, -2) + phi.roll(-1, -2)


def diagonal(phi: Tensor) -> Tensor:
    """Return sums over the four next neighbours, along the diagonals."""
    both = phi.roll(1, -1) + phi.roll(-1, -1)
    return both.roll(1, -2) + both.roll(-1, -2)


def by_parity(values: Tensor) -> Tensor:
    """Return values of sites by where these stand in a square of four, (field, 2, 2, *coarse)."""
    return values.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).permute(0, 2, 4, 1, 3)


def energy(fields: Tensor, couplings: Couplings) -> Tensor:
    """Return what each site adds to the action in which it has these couplings."""
    a, b, c = couplings
    return fields * (a * fields + b * fields**3 - 0.5 * c * near(fields))


def log_density(x: Tensor, n: Tensor, couplings: Couplings | tuple[Tensor, ...]) -> Tensor:
    """Return the logarithm of q(x | n) of sites, of any shape."""
    a, b, c = couplings
    with torch.no_grad():  # where the nodes lie changes nothing
        k, _ = _envelope(n, couplings)
        steps = torch.linspace(-_FAR, _FAR, _N_NODES, dtype=n.dtype)
        nodes = (c * n / (2 * k))[..., None] + steps / torch.sqrt(2 * k)[..., None]
        width = (steps[1] - steps[0]) / torch.sqrt(2 * k)
    logs = nodes * (c * n[..., None] - nodes * (a + b * nodes * nodes))
    return x * (c * n - x * (a + b * x * x)) - torch.logsumexp(logs, -1) - torch.log(width)


def drawn(n: Tensor, couplings: Couplings, generator: torch.Generator | None) -> Tensor:
    """Return sites drawn from q(x | n), of the shape of n, by refusing normal numbers."""
    b, c, found = couplings[1], couplings[2], torch.empty_like(n).flatten()
    k, square = _envelope(n.flatten(), couplings)
    left = torch.arange(len(found))
    while len(left):
        width = (2 * k[left]) ** -0.5
        noise = torch.randn(len(left), dtype=n.dtype, generator=generator)
        x = c * n.flatten()[left] * width**2 + width * noise
        chance = torch.rand(len(left), dtype=n.dtype, generator=generator)
        taken = chance < torch.exp(-b * (x * x - square[left]) ** 2)
        found[left[taken]] = x[taken]
        left = left[~taken]
    return found.reshape(n.shape)


def _envelope(n: Tensor, couplings: Couplings | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return k and s: q(x | n) lies below a multiple of exp(-k x^2 + c n x), by exp(-b (x^2 - s)^2).

    That is so for all k = a + 2 b s; here s is the mean of x^2 in that normal distribution, a root
    that Newton's steps reach from above.
    """
    a, b, c = couplings
    pull = b * (c * n) ** 2 / 2
    k = abs(a) + math.sqrt(b) + pull ** (1 / 3)
    for _ in range(_N_ROOT):
        k = k - (k**3 - a * k**2 - b * k - pull) / (3 * k**2 - 2 * a * k - b)
    return k, (k - a) / (2 * b)


def fitted(x: Tensor, n: Tensor, first: Couplings) -> Couplings:
    """Return the couplings under which sites with such neighbours are most likely."""
    x, n = x.flatten()[:_N_FITTED], n.flatten()[:_N_FITTED]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        couplings = torch.tensor(values, requires_grad=True)
        told = -log_density(x, n, couplings.unbind()).mean()
        return told.item(), torch.autograd.grad(told, couplings)[0].numpy()

    limits = [(None, None), (1e-6, None), (1e-6, None)]
    return tuple(map(float, minimize(loss, first, jac=True, bounds=limits).x))


def _terms(fields: Tensor) -> NDArray[np.float64]:
    """Return what a, b and c multiply in the logarithm of coarse fields' density, (term, field)."""
    square, hops = fields * fields, 0.5 * fields * near(fields)
    return torch.stack([-square, -square * square, hops]).sum((-2, -1)).numpy()
