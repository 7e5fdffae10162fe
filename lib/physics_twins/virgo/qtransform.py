"""The Q-transform in torch: energies of tiles of constant quality, many channels at once.

The tiling and the bi-square window are those of Chatterji et al. 2004 (Class. Quantum Grav. 21, S1809)
as the Omega pipeline and gwpy have them, and so are the tiles' energies. Decisions belong on tiles: an
image that is interpolated between them overshoots.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """Rows of tiles at one quality: the same number of cycles at every frequency.

    Attributes:
        duration_s: Of the series that is transformed.
        sample_rate_hz: Of it.
        quality: Q, the centre frequency over the bandwidth.
        low_hz: Lowest frequency.
        high_hz: Highest frequency.
        mismatch: Largest part of a signal's energy that may be lost between two tiles.
    """

    duration_s: float
    sample_rate_hz: float
    quality: float = 12.0
    low_hz: float = 8.0
    high_hz: float = 500.0
    mismatch: float = 0.2

    def __post_init__(self) -> None:
        highest_hz = self.sample_rate_hz / 2 / (1 + np.sqrt(11) / self.quality)
        lowest_hz = self.quality / self.duration_s
        if not lowest_hz <= self.low_hz < self.high_hz <= highest_hz:
            raise ValueError(
                f"low_hz = {self.low_hz:g} Hz and high_hz = {self.high_hz:g} Hz must lie between"
                f" {lowest_hz:.3g} and {highest_hz:.5g} Hz, in this order, for {self.duration_s:g} s at"
                f" {self.sample_rate_hz:g} Hz and quality {self.quality:g}"
            )

    @cached_property
    def frequencies_hz(self) -> NDArray[np.floating]:
        """Centres of the rows, shape (row,), rising."""
        scale = np.sqrt(2 + self.quality**2)
        apart = np.log(self.high_hz / self.low_hz) * scale / 2
        n_rows = max(1, int(np.ceil(apart / self._step)))
        centres = self.low_hz * np.exp(2 / scale * (np.arange(n_rows) + 0.5) * apart / n_rows)
        return np.unique(centres // (1 / self.duration_s) * (1 / self.duration_s))

    @cached_property
    def n_tiles(self) -> NDArray[np.integer]:
        """How many tiles each row has, powers of two, shape (row,)."""
        apart = self.duration_s * 2 * np.pi * self.frequencies_hz / self.quality
        return 2 ** np.ceil(np.log2(apart / self._step)).astype(int)

    @property
    def _step(self) -> float:
        return 2 * np.sqrt(self.mismatch / 3)

    def _window(self, row: int) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return bins beside the centre and the weight of each."""
        frequency_hz, narrow = self.frequencies_hz[row], self.quality / np.sqrt(11)
        half = int(frequency_hz / narrow * self.duration_s)
        beside = np.arange(-half, half + 1)
        shape = (1 - (beside / self.duration_s * narrow / frequency_hz) ** 2) ** 2
        size = np.sqrt(315 * narrow / (128 * frequency_hz)) / (self.duration_s * self.sample_rate_hz)
        return beside, shape * size * self.n_tiles[row]

    @cached_property
    def groups(self) -> list[tuple[NDArray[np.integer], Tensor, Tensor]]:
        """Rows with equally many tiles: their numbers, bins of the spectrum and weights (row, tile)."""
        found = []
        for n in np.unique(self.n_tiles):
            rows = np.flatnonzero(self.n_tiles == n)
            bins, weights = np.zeros((len(rows), n), int), np.zeros((len(rows), n))
            for i, row in enumerate(rows):
                beside, weight = self._window(int(row))
                # Omega counts from 1, and all after it are one bin above.
                bins[i, beside] = beside + 1 + round(self.frequencies_hz[row] * self.duration_s)
                weights[i, beside] = weight
            found.append((rows, torch.from_numpy(bins), torch.from_numpy(weights)))
        return found


def tile_energies(series: Tensor, tiling: Tiling, *, normalised: bool = True) -> list[Tensor]:
    """Return the energies of all tiles.

    Args:
        series: Whitened, shape (..., time), real, on any device; its precision is kept.
        tiling: For its duration and sample rate.
        normalised: Whether each row is divided by its median, in Gaussian noise ln 2 times its mean.

    Returns:
        For each row of the tiling, shape (..., tile); the first tile is centred on the first sample.

    Raises:
        ValueError: The series has another length than the tiling.
    """
    n_samples = round(tiling.duration_s * tiling.sample_rate_hz)
    if series.shape[-1] != n_samples:
        raise ValueError(f"series has {series.shape[-1]} samples, the tiling is for {n_samples}")
    spectrum = 2 * torch.fft.rfft(series) / n_samples
    energies: list[Tensor] = [series] * len(tiling.frequencies_hz)
    for rows, bins, weights in tiling.groups:
        chosen = spectrum[..., bins.to(series.device)]
        windowed = chosen * weights.to(series)  # (..., row, tile)
        coefficients = torch.view_as_real(torch.fft.ifft(windowed))
        power = coefficients.square().sum(dim=-1)
        if normalised:
            power = power / _median(power)
        for i, row in enumerate(rows):
            energies[row] = power[..., i, :]
    return energies


def _median(power: Tensor) -> Tensor:
    """Return the mean of the two middle values of the last dimension, which stays."""
    middle = power.shape[-1] // 2
    lower = power.kthvalue(middle, dim=-1, keepdim=True).values
    return (lower + power.kthvalue(middle + 1, dim=-1, keepdim=True).values) / 2


class Peak(NamedTuple):
    """The loudest tile of each series: energy over the row's median, time in s and frequency in Hz."""

    energy: Tensor
    time_s: Tensor
    frequency_hz: Tensor


def loudest(
    energies: list[Tensor], tiling: Tiling, *, from_s: float = 0.0, to_s: float = np.inf
) -> Peak:
    """Return the loudest tile whose centre lies in [from_s, to_s), each of shape (...)."""
    rows = []
    for row, energy in enumerate(energies):
        step_s = tiling.duration_s / energy.shape[-1]
        first = int(np.ceil(from_s / step_s))
        stop = int(np.ceil(min(to_s, tiling.duration_s) / step_s))
        value, place = energy[..., first:stop].max(dim=-1)
        frequency_hz = torch.full_like(value, float(tiling.frequencies_hz[row]))
        rows.append((value, (place + first).to(value) * step_s, frequency_hz))
    energy, time_s, frequency_hz = (torch.stack(each) for each in zip(*rows, strict=True))
    best = energy.argmax(dim=0, keepdim=True)
    return Peak(*(each.gather(0, best)[0] for each in (energy, time_s, frequency_hz)))


def image(energies: list[Tensor], tiling: Tiling, *, n_times: int, n_frequencies: int) -> Tensor:
    """Return a picture of tiles, shape (..., frequency, time): each pixel is its nearest tile.

    Frequencies are spaced evenly in their logarithm; nothing is interpolated.
    """
    wanted = np.geomspace(tiling.low_hz, tiling.high_hz, n_frequencies)
    middles = np.sqrt(tiling.frequencies_hz[1:] * tiling.frequencies_hz[:-1])
    place = (torch.arange(n_times, device=energies[0].device) + 0.5) / n_times
    lines = []
    for row in np.searchsorted(middles, wanted):
        n_tiles = energies[row].shape[-1]
        lines.append(energies[row][..., (place * n_tiles).round().long() % n_tiles])
    return torch.stack(lines, dim=-2)


def picture(white: Tensor, sample_rate_hz: float, *, quality: float = 8.0) -> tuple[Tensor, Tiling]:
    """Return a picture of a whitened series, (64 frequencies, 256 times), and its tiling.

    Of 12 to 400 Hz, or of what the rate allows; energies are over the median of each row.

    Args:
        white: Shape (time,), some seconds long.
        sample_rate_hz: Of it.
        quality: Of the tiles.
    """
    tiling = _shown(len(white) / sample_rate_hz, sample_rate_hz, quality)
    return image(tile_energies(white, tiling), tiling, n_times=256, n_frequencies=64), tiling


@cache
def _shown(duration_s: float, sample_rate_hz: float, quality: float) -> Tiling:
    highest_hz = 0.9 * sample_rate_hz / 2 / (1 + np.sqrt(11) / quality)
    return Tiling(duration_s, sample_rate_hz, quality, 12.0, min(400.0, highest_hz))


def whitened(series: Tensor, sample_rate_hz: float, *, part_s: float = 2.0) -> Tensor:
    """Return a series over the square root of its own spectrum, with variance 1 in Gaussian noise.

    The spectrum is the median over parts of `part_s` with half an overlap. At both ends the length of a
    part is not to be used.

    Args:
        series: Shape (..., time), of at least four parts.
        sample_rate_hz: Of it.
        part_s: Length of a part, in s: the inverse of the resolution.
    """
    n_part = round(part_s * sample_rate_hz)
    window = torch.hann_window(n_part, dtype=series.dtype, device=series.device)
    parts = series.unfold(-1, n_part, n_part // 2)  # (..., part, time)
    parts = (parts - parts.mean(dim=-1, keepdim=True)) * window
    power = torch.fft.rfft(parts).abs().square() / window.square().sum()
    level = (power.median(dim=-2).values / np.log(2)).sqrt()  # (..., frequency)
    n_samples = series.shape[-1]
    bins = torch.arange(n_samples // 2 + 1, device=series.device) * (n_part / n_samples)
    low = bins.floor().long().clamp(max=level.shape[-1] - 2)
    weight = (bins - low).to(series)
    level = level[..., low] * (1 - weight) + level[..., low + 1] * weight
    return torch.fft.irfft(torch.fft.rfft(series) / level, n_samples)
