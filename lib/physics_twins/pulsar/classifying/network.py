"""The network that labels frames: small convolutions over what the front end cuts out, and its numbers.

Four pictures show a frame's best candidate along its track, the same added at slightly wrong DMs, the
frame's cells and its subbands without any delay. Frames that show nothing have numbers only.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from physics_twins.pulsar.classifying.labels import HELD, LABELS
from physics_twins.pulsar.searching.frontend import SCALARS

SHEARS = (-12, -8, -4, -2, 0, 2, 4, 8, 12)  # bins over the band
POOL = 2  # subbands that are added before anything else; twice as many for the bow-tie
LARGE = 10.0  # values of a picture are kept below this
NEAR_BINS = 64  # bins around the candidate that its picture shows
DROPOUT = 0.1
# Noise falls off as a Gaussian, and so the odds of a pulse grow with the square of its S/N between
# these; training shows too few such frames of noise to learn it from.
FAINT_SNR, CLEAR_SNR = 4.0, 8.0
EVIDENCE = ("pulse", "nbrfi", "bbrfi", "other")
# What decides about a pulse too weak to show its shape.
CANDIDATE = [SCALARS.index(name) for name in ("snr", "shadow_snr")]
# Above these something may have made the candidate. White noise is below 6.5 but for one frame in some
# hundreds. In a track interference has a small part of the S/N that it has in its own shape, so that
# what is weaker than this made no candidate.
SHOWS = {"snr": 6.5, "box": 16.0, "rough": 16.0, "roughest": 27.0, "impulse": 14.0, "total": 15.0}
# Weights whose config says nothing of it were trained with these, and let faint interference speak.
SHOWS_BEFORE = {"snr": 6.5, "box": 5.4, "rough": 5.4, "roughest": 9.0, "impulse": 4.8, "total": 5.0}


class FrameNetwork(nn.Module):
    """Logits of `LABELS` for frames.

    Each component has an evidence of its own, and a class that of its components. Whether there is a
    pulse is decided by its candidate's S/N, in which the front end has put all that it knows of faint
    pulses. Pictures and other numbers can only speak against it, and only where it is strong enough to
    show its shape or interference is there that may have made it: nothing is read into mere noise.

    Args:
        n_subbands: Subbands of a stack.
        n_bins: Bins of a stack.
        shows: Above which numbers of the front end something shows, by the first part of their names.

    Attributes:
        scale: What logits are multiplied with, for frames without and with pictures, shape (2, 1).
        offset: What is added to them then, shape (2, label). Both are fitted after the training.
    """

    scale: Tensor
    offset: Tensor
    held: Tensor
    threshold: Tensor

    def __init__(
        self, *, n_subbands: int = 32, n_bins: int = 128, shows: Mapping[str, float] = SHOWS
    ) -> None:
        super().__init__()
        self.shear = Shear(n_subbands // POOL // 2, n_bins)
        self.stack = _Pictures(1, (8, 16, 24), strides=((2, 2), (2, 2), (1, 2)))
        self.bow_tie = _Series(len(SHEARS), 16, 24)
        self.cells = _Pictures(2, (8, 16, 24), strides=((1, 2), (2, 2), (2, 2)))
        self.impulses = _Pictures(1, (8, 16, 24), strides=((2, 2), (2, 2), (2, 2)))
        n_features = 2 * (24 + 24 + 24 + 24) + n_subbands
        self.pictures = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(n_features, 48), nn.ReLU())
        self.unseen = nn.Parameter(torch.zeros(48))
        self.scalars = nn.Sequential(
            nn.BatchNorm1d(len(SCALARS)), nn.Linear(len(SCALARS), 64), nn.ReLU()
        )
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(64 + 48, 64), nn.ReLU(), nn.Linear(64, len(EVIDENCE))
        )
        self.candidate = nn.Sequential(
            nn.BatchNorm1d(len(CANDIDATE)), nn.Linear(len(CANDIDATE), 16), nn.ReLU(), nn.Linear(16, 1)
        )
        self.growth = nn.Parameter(torch.zeros(1))
        self.register_buffer("held", torch.tensor(HELD, dtype=torch.float32), persistent=False)
        threshold = [shows.get(name.split("_")[0], math.inf) for name in SCALARS]
        self.register_buffer("threshold", torch.tensor(threshold), persistent=False)
        self.register_buffer("scale", torch.ones(2, 1))
        self.register_buffer("offset", torch.zeros(2, len(LABELS)))

    def forward(
        self,
        scalars: Tensor,
        gated: Tensor,
        stacks: Tensor,
        present: Tensor,
        cells: Tensor,
        impulses: Tensor,
        *,
        teaches: Tensor | None = None,
    ) -> Tensor:
        """Return logits, shape (frame, label).

        Args:
            scalars: Named by `frontend.SCALARS`, shape (frame, scalar).
            gated: Which frames have pictures, bool, shape (frame,); the others follow in their order.
            stacks: Shape (gated, subband, bin).
            present: Shape (gated, subband).
            cells: Shape (gated, 2, 16, 64).
            impulses: Shape (gated, 16, 64).
            teaches: In a training, frames from which it is learnt what a pulse is, bool, shape
                (frame,); by default all.
        """
        seen = self.unseen.expand(len(scalars), -1)
        if len(stacks):
            features = self._features(stacks, present, cells, impulses)
            seen = seen.masked_scatter(gated[:, None], features)
        squeezed = torch.asinh(scalars)
        evidence = self.head(torch.cat([self.scalars(squeezed), seen], dim=1))  # (frame, evidence)
        # Any number far above the noise's: 0 in white noise, 1 for what can be told from it.
        shows = torch.sigmoid(4 * (scalars - self.threshold).amax(dim=1, keepdim=True))
        against = nn.functional.softplus(evidence[:, :1])
        height = scalars[:, CANDIDATE[:1]].clamp(FAINT_SNR, CLEAR_SNR)
        growth = nn.functional.softplus(self.growth) * (height**2 - FAINT_SNR**2)
        pulse = self.candidate(squeezed[:, CANDIDATE]) + growth - shows * against
        if teaches is not None:
            pulse = torch.where(teaches[:, None], pulse, pulse.detach())
        logits = torch.cat([pulse, evidence[:, 1:]], dim=1) @ self.held
        kind = gated.long()
        return logits * self.scale[kind] + self.offset[kind]

    def _features(self, stacks: Tensor, present: Tensor, cells: Tensor, impulses: Tensor) -> Tensor:
        """Return what the pictures show, shape (gated, feature)."""
        pooled = _added(stacks, POOL)
        low = (stacks.shape[2] - NEAR_BINS) // 2
        parts = [
            self.stack(_squeezed(pooled[:, None, :, low : low + NEAR_BINS])),
            self.bow_tie(_squeezed(self.shear(_added(pooled, 2)))),
            self.cells(_squeezed(cells)),
            self.impulses(_squeezed(impulses)[:, None]),
            present,
        ]
        return self.pictures(torch.cat(parts, dim=1))


class Shear(nn.Module):
    """Adds the subbands of a stack along slightly wrong tracks: the bow-tie of DM and time."""

    index: Tensor

    def __init__(self, n_subbands: int, n_bins: int) -> None:
        super().__init__()
        self.pad = max(SHEARS)
        place = torch.linspace(-0.5, 0.5, n_subbands)
        shift = torch.round(torch.tensor(SHEARS)[:, None] * place).long()  # (shear, subband)
        column = self.pad + torch.arange(n_bins) + shift[:, :, None]  # (shear, subband, bin)
        row = torch.arange(n_subbands)[:, None] * (n_bins + 2 * self.pad)
        self.register_buffer("index", row + column, persistent=False)

    def forward(self, stacks: Tensor) -> Tensor:
        """Return the sums with unit noise, shape (frame, shear, bin)."""
        padded = nn.functional.pad(stacks, (self.pad, self.pad)).flatten(1)
        n_subbands = stacks.shape[1]
        out = stacks.new_zeros(len(stacks), len(self.index), stacks.shape[2])
        for subband in range(n_subbands):
            out = out + padded[:, self.index[:, subband]]
        return out / n_subbands**0.5


class _Pictures(nn.Module):
    """Three convolutions; of the last one's channels the mean and the highest value."""

    def __init__(
        self,
        n_in: int,
        n_channels: tuple[int, int, int],
        *,
        strides: tuple[tuple[int, int], ...],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_out, stride in zip(n_channels, strides, strict=True):
            layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(n_out), nn.ReLU()]
            n_in = n_out
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        out = self.layers(pictures)
        return torch.cat([out.mean(dim=(2, 3)), out.amax(dim=(2, 3))], dim=1)


class _Series(nn.Module):
    """Two convolutions along time; of the last one's channels the mean and the highest value."""

    def __init__(self, n_in: int, n_middle: int, n_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(n_in, n_middle, 9, 2, 4, bias=False),
            nn.BatchNorm1d(n_middle),
            nn.ReLU(),
            nn.Conv1d(n_middle, n_out, 5, 2, 2, bias=False),
            nn.BatchNorm1d(n_out),
            nn.ReLU(),
        )

    def forward(self, series: Tensor) -> Tensor:
        out = self.layers(series)
        return torch.cat([out.mean(dim=2), out.amax(dim=2)], dim=1)


def _added(stacks: Tensor, n: int) -> Tensor:
    """Add neighbouring subbands, keeping unit noise."""
    return stacks.unflatten(1, (-1, n)).sum(dim=2) / n**0.5


def _squeezed(values: Tensor) -> Tensor:
    """Keep values of the noise's order and squeeze large ones, which may have any height."""
    return values * torch.rsqrt(1 + (values / LARGE) ** 2)
