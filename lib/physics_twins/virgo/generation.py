"""A conditional generator of glitches in the time domain: a flow, learnt from whitened glitches.

A glitch is whitened, of norm 1, and told by its coefficients on its family's principal components. The
flow carries Gaussian numbers to coefficients along straight lines (flow matching: Lipman et al. 2023,
arXiv:2210.02747), told the family.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from physics_twins import training
from physics_twins.parameters import Parameters, field
from physics_twins.training import Objective, Task, Trained, TrainingSettings
from physics_twins.virgo import glitches, noise
from physics_twins.virgo.reconstruction import whitened_pair
from physics_twins.virgo.witnesses import VIBRATION

_HELD_OUT = 0.1  # of the glitches, for validation


class GeneratorParameters(Parameters):
    """How large the generator is, and how long it learns."""

    n_components: int = field(
        192, ge=4, le=1024, folded=True, help="Principal components of each family, at most"
    )
    width: int = field(384, ge=16, le=4096, folded=True, help="Numbers in each layer of the network")
    n_layers: int = field(4, ge=1, le=16, folded=True, help="Its layers")
    n_steps: int = field(6000, ge=1, le=10**7, unit="steps", help="Steps of the training")
    batch_size: int = field(256, ge=2, le=10**6, folded=True, help="Glitches in a step")
    learning_rate: float = field(2e-3, ge=1e-6, le=1, logarithmic=True, folded=True, help="Highest one")


def drawn(
    family: str, n_drawn: int, *, detector: str, sample_rate_hz: float, seed: int
) -> NDArray[np.float32]:
    """Return whitened glitches of one family with norm 1, shape (glitch, time), 4 s long.

    Args:
        family: A key of `glitches.FAMILIES`.
        n_drawn: How many.
        detector: Whose noise whitens them.
        sample_rate_hz: Of them.
        seed: Of their parameters.
    """
    rng = noise.generator(seed, f"drawn {family}")
    rows = []
    for _ in range(n_drawn):
        shape = glitches.draw(family, 1.0, detector, sample_rate_hz, rng)
        strain, _ = whitened_pair(shape, VIBRATION[0], detector, sample_rate_hz)
        rows.append(strain / np.linalg.norm(strain))
    return np.array(rows, dtype=np.float32)


class GlitchFlow(nn.Module):
    """The flow's velocity, and the components of each family.

    Args:
        families: Whitened glitches of norm 1 of each family, (glitch, time); their components are kept.
        settings: Of its size.
    """

    components: Tensor
    scales: Tensor

    def __init__(
        self, families: Mapping[str, NDArray[np.float32]], settings: GeneratorParameters
    ) -> None:
        super().__init__()
        self.names = tuple(families)
        n, n_time = settings.n_components, next(iter(families.values())).shape[1]
        components, scales = torch.zeros(len(self.names), n, n_time), torch.zeros(len(self.names), n)
        for number, each in enumerate(families.values()):
            _, values, vectors = torch.svd_lowrank(
                torch.from_numpy(each), q=min(n, *each.shape), niter=4
            )
            components[number, : len(values)] = vectors.T
            scales[number, : len(values)] = values / np.sqrt(len(each))
        self.register_buffer("components", components)
        self.register_buffer("scales", scales)
        self.register_buffer("overall", (scales**2).sum(dim=1).div(n).sqrt())
        layers: list[nn.Module] = [nn.Linear(n + len(self.names) + _N_TIMES, settings.width), nn.SiLU()]
        for _ in range(settings.n_layers - 1):
            layers += [_Residual(settings.width)]
        self.layers = nn.Sequential(*layers, nn.Linear(settings.width, n))

    def coefficients(self, series: Tensor, family: int) -> Tensor:
        """Return coefficients of one family's glitches, of mean square about 1: (glitch, component)."""
        return series @ self.components[family].T / self._units(torch.tensor([family]))

    def series(self, coefficients: Tensor, family: Tensor) -> Tensor:
        """Return glitches from their coefficients: (glitch, time)."""
        units = coefficients * self._units(family)
        return torch.einsum("bc,bct->bt", units, self.components[family])

    def _units(self, family: Tensor) -> Tensor:
        # Between the size of each component and that of all: weak ones are neither lost nor blown up.
        overall = self.get_buffer("overall")[family][:, None]
        return (self.scales[family].clamp_min(1e-3 * overall) * overall).sqrt()

    def forward(self, place: Tensor, time: Tensor, family: Tensor) -> Tensor:
        """Return the velocity at places (glitch, component) and times (glitch,) from 0 to 1."""
        waves = time[:, None] * torch.pi * torch.arange(1, _N_TIMES // 2 + 1, device=time.device)
        told = nn.functional.one_hot(family, len(self.names)).to(place)
        return self.layers(torch.cat([place, told, waves.sin(), waves.cos()], dim=1))

    @torch.no_grad()
    def sample(self, family: str, n: int, *, seed: int, n_steps: int = 40) -> Tensor:
        """Return new glitches of a family, whitened, of norm 1: (glitch, time)."""
        rng = torch.Generator().manual_seed(seed)
        number = torch.full((n,), self.names.index(family))
        place = torch.randn(n, self.scales.shape[1], generator=rng) * self._sizes(number)
        for step in range(n_steps):
            now = torch.full((n,), step / n_steps)
            half = place + self(place, now, number) / (2 * n_steps)
            place = place + self(half, now + 0.5 / n_steps, number) / n_steps
        found = self.series(place, number)
        return found / found.norm(dim=1, keepdim=True)

    def _sizes(self, family: Tensor) -> Tensor:
        """Return the root mean square of each coefficient, which the flow starts from."""
        return self.scales[family] / self._units(family)


_N_TIMES = 16


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())

    def forward(self, values: Tensor) -> Tensor:
        return values + self.layers(values)


def train(
    families: Mapping[str, NDArray[np.float32]],
    settings: GeneratorParameters | None = None,
    *,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train the generator; its module is `flow`.

    Args:
        families: Whitened glitches of norm 1 by family, from `drawn`, (glitch, time).
        settings: How large and how long.
        seed: Of weights, order and noise.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.
    """
    settings = settings or GeneratorParameters()
    build = partial(_task, families, settings)
    loop = TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        ema_decay=0.999,
        clip_norm=1.0,
        validate_every=max(1, settings.n_steps // 5),
        accelerator="cpu",
        cpu_threads=1,
    )
    return training.train(build, loop, seed=seed, folder=folder, progress=progress)


def _task(families: Mapping[str, NDArray[np.float32]], settings: GeneratorParameters) -> Task:
    n_learnt = {name: round(len(each) * (1 - _HELD_OUT)) for name, each in families.items()}
    flow = GlitchFlow({name: each[: n_learnt[name]] for name, each in families.items()}, settings)
    learnt = [each[: n_learnt[name]] for name, each in families.items()]
    held_out = [each[n_learnt[name] :] for name, each in families.items()]
    optimizer = torch.optim.AdamW(flow.layers.parameters(), settings.learning_rate, weight_decay=1e-4)
    schedule = OneCycleLR(optimizer, settings.learning_rate, total_steps=max(settings.n_steps, 4))

    def loss(modules: Mapping[str, nn.Module], batch: Sequence[Tensor], step: int) -> Tensor:
        return _matching(modules["flow"], *batch)

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        return {"loss": _matching(modules["flow"], *_coefficients(flow, held_out))}

    digest = hashlib.sha256()
    for each in families.values():
        digest.update(each.tobytes())
    return Task(
        {"flow": flow},
        {"flow": Objective(loss, optimizer, schedule)},
        _coefficients(flow, learnt),
        validate,
        watch="loss",
        identity=digest.hexdigest(),
    )


def _coefficients(flow: GlitchFlow, families: Sequence[NDArray[np.float32]]) -> list[Tensor]:
    """Return coefficients and numbers of the families."""
    found = [flow.coefficients(torch.from_numpy(each), n) for n, each in enumerate(families)]
    numbers = [torch.full((len(each),), n) for n, each in enumerate(families)]
    return [torch.cat(found), torch.cat(numbers)]


def _matching(flow: nn.Module, coefficients: Tensor, family: Tensor) -> Tensor:
    """Return how far the velocity is from straight lines, on average."""
    if not isinstance(flow, GlitchFlow):
        raise TypeError(f"flow must be a GlitchFlow, is {type(flow).__name__}")
    start = torch.randn_like(coefficients) * flow._sizes(family)
    time = torch.rand(len(coefficients), device=coefficients.device)
    place = torch.lerp(start, coefficients, time[:, None])
    return (flow(place, time, family) - (coefficients - start)).square().mean()
