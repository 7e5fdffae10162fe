"""Generator and discriminator of 3DGAN, layer by layer as published."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from physics_twins.calorimeter.gan.measures import angle_rad

LATENT = 256  # energy, angle, and normal random numbers
SHAPE = (51, 51, 25)
_SEED_SHAPE = (8, 9, 9, 8)
# Channels, kernel, and cells added on every side afterwards, of all but the last two convolutions.
_NORMALISED = (
    (8, (6, 6, 8), (2, 2, 1)),
    (6, (4, 4, 6), (2, 2, 1)),
    (6, (4, 4, 6), (2, 2, 1)),
    (6, (4, 4, 6), (1, 1, 0)),
    (6, (3, 3, 5), (1, 1, 0)),
)
_KERNEL = (5, 6, 6)
_N_FEATURES = 19_152
_DROPPED = 0.2
# Keras's momentum of 0.99 is PyTorch's of 0.01: how much of the new enters the running statistics.
_NORM: Mapping[str, Any] = {"eps": 1e-6, "momentum": 0.01}


class Generator(nn.Module):
    """Makes images of showers from energy, angle and 254 random numbers."""

    def __init__(self) -> None:
        """Draw its first weights."""
        super().__init__()
        self.first = nn.Linear(LATENT, 5184)
        self.grow = nn.Upsample(scale_factor=6, mode="trilinear", align_corners=False)
        parts: list[nn.Module] = []
        channels = _SEED_SHAPE[0]
        for n, kernel, (across, up, along) in _NORMALISED:
            parts += [_convolution(channels, n, kernel), nn.ReLU(), nn.BatchNorm3d(n, **_NORM)]
            parts.append(nn.ConstantPad3d((along, along, up, up, across, across), 0.0))
            channels = n
        parts += [_convolution(channels, 6, (3, 3, 3)), nn.ReLU()]
        last = nn.Conv3d(6, 1, (2, 2, 2))
        nn.init.xavier_normal_(last.weight)
        self.convolutions = nn.Sequential(*parts, last, nn.ReLU())

    def forward(self, known: Tensor) -> Tensor:
        """Return images, shape (shower, 1, 51, 51, 25), from numbers of shape (shower, 256)."""
        seeds = self.first(known).unflatten(1, _SEED_SHAPE)  # (shower, 8, 9, 9, 8)
        return self.convolutions(self.grow(seeds))


class Judged(NamedTuple):
    """What the discriminator says of each shower; all of shape (shower,).

    Attributes:
        logit: Logarithm of the odds that it is a real one.
        energy: The particle's energy in 100 GeV, as the network sees it.
        angle_rad: The particle's angle to the face, as the cells' energies tell it.
        energy_sum: Sum of all scaled cells.
    """

    logit: Tensor
    energy: Tensor
    angle_rad: Tensor
    energy_sum: Tensor


class Discriminator(nn.Module):
    """Judges images of showers; it gives a logit, which nothing must put through a sigmoid again."""

    def __init__(self, *, power: float = 0.85, cell_per_layer: float = 1.0) -> None:
        """Draw its first weights.

        Args:
            power: To which the cells of an image were raised.
            cell_per_layer: Side of a cell over the distance of layers, for the angle.
        """
        super().__init__()
        self.power, self.cell_per_layer = power, cell_per_layer
        # Even kernels: one cell more behind than before keeps the size.
        same, deeper = (
            nn.ConstantPad3d((2, 3, 2, 3, 2, 2), 0.0),
            nn.ConstantPad3d((1, 1, 0, 0, 0, 0), 0.0),
        )
        self.features = nn.Sequential(
            *(same, nn.Conv3d(1, 16, _KERNEL), nn.LeakyReLU(), nn.Dropout(_DROPPED), deeper),
            *(*_judging(16), deeper),
            *_judging(8),
            *_judging(8),
            nn.AvgPool3d(2),
            nn.Flatten(),
        )
        self.reality, self.energy = nn.Linear(_N_FEATURES, 1), nn.Linear(_N_FEATURES, 1)

    def forward(self, images: Tensor) -> Judged:
        """Judge images of shape (shower, 1, 51, 51, 25)."""
        features = self.features(images)
        cells = images.squeeze(1) ** (1 / self.power)
        return Judged(
            self.reality(features).squeeze(1),
            self.energy(features).squeeze(1),
            angle_rad(cells, cell_per_layer=self.cell_per_layer),
            cells.sum(dim=(1, 2, 3)),
        )


class Adversaries(nn.Module):
    """Both networks in one, as they are saved; called, it generates."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        """Hold two networks."""
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, known: Tensor) -> Tensor:
        """Return the generator's images."""
        return self.generator(known)


def _convolution(n_in: int, n_out: int, kernel: tuple[int, int, int]) -> nn.Conv3d:
    convolution = nn.Conv3d(n_in, n_out, kernel)
    nn.init.kaiming_uniform_(convolution.weight)
    return convolution


def _judging(n_in: int) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm3d(8, **_NORM)
    return nn.Conv3d(n_in, 8, _KERNEL), nn.LeakyReLU(), norm, nn.Dropout(_DROPPED)
