"""A network from witnesses to strain that keeps the phase: what a classical subtraction has left.

Whitened channels go through filters, are multiplied with each other, and go through filters again: the
least that can be a coupling of second order behind and before any filter, without being told which.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from physics_twins.virgo import inputs

Series = NDArray[np.floating]

SHOWN_HZ = (15.0, 400.0)  # of the channels and of the strain that are shown to it
_SMOOTH_HZ = 2.0  # spectra by which series are whitened are no finer


class ResidualNetwork(nn.Module):
    """Filters, products, filters.

    Whitened channels, shape (batch, channel, time), become a whitened strain, (batch, time). It begins
    with saying nothing.
    """

    def __init__(self, n_channels: int, *, width: int, taps: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_channels, width, taps, padding="same")
        self.second = nn.Conv1d(n_channels, width, taps, padding="same")
        self.last = nn.Conv1d(2 * width, 1, taps, padding="same", bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, channels: Tensor) -> Tensor:
        first, second = self.first(channels), self.second(channels)  # (batch, width, time)
        mixed = torch.cat([first, first * second], dim=1)  # linear, and of second order
        return self.last(mixed)[:, 0]  # (batch, time)


@dataclass(frozen=True)
class Whitening:
    """By what series are divided, in each bin of frequency, to be white.

    Attributes:
        frequency_hz: Shape (frequency,).
        asd: Of each series, shape (series, frequency).
    """

    frequency_hz: Series
    asd: Series

    @staticmethod
    def of(series: Sequence[Series], sample_rate_hz: float) -> "Whitening":
        """Return the whitening of series, each of shape (time,)."""
        from scipy import signal

        n_part = round(sample_rate_hz / _SMOOTH_HZ)
        frequency_hz, psd = signal.welch(np.stack(series), sample_rate_hz, nperseg=n_part)
        return Whitening(frequency_hz, np.sqrt(np.maximum(psd * sample_rate_hz / 2, 1e-300)))

    def white(self, series: Sequence[Series], sample_rate_hz: float) -> NDArray[np.float32]:
        """Return series with variance about 1, shape (series, time); what is not shown is left out."""
        made = [self._through(each, n, sample_rate_hz, -1) for n, each in enumerate(series)]
        return np.stack(made).astype(np.float32)

    def coloured(self, series: Series, number: int, sample_rate_hz: float) -> Series:
        """Return a white series as one of the kind of a number, shape (time,)."""
        return self._through(series, number, sample_rate_hz, 1)

    def _through(self, series: Series, number: int, sample_rate_hz: float, power: int) -> Series:
        grid = np.fft.rfftfreq(len(series), 1 / sample_rate_hz)
        asd = np.exp(np.interp(grid, self.frequency_hz, np.log(self.asd[number])))
        shown = (grid >= SHOWN_HZ[0]) & (grid <= min(SHOWN_HZ[1], 0.45 * sample_rate_hz))
        return np.fft.irfft(np.fft.rfft(series) * asd**power * shown, len(series))


@dataclass(frozen=True)
class ResidualModel:
    """A trained network, ready to be used on one instrument.

    Attributes:
        network: In evaluation mode.
        channels: What it is shown, in their order.
        whitening: Of the channels, and last of the strain.
        address: Name and version of the saved model, "" where it is not saved.
    """

    network: ResidualNetwork
    channels: tuple[str, ...]
    whitening: Whitening
    address: str = ""

    def subtract(self, stretch: xr.Dataset) -> Series:
        """Return what it says is left of the couplings, shape (time,), to be subtracted too.

        Args:
            stretch: With its channels.
        """
        rate_hz = inputs.sample_rate(stretch)
        shown = torch.from_numpy(self.whitening.white(records(stretch, self.channels), rate_hz))
        with torch.no_grad():
            white = self.network(shown[None])[0].numpy().astype(float)
        return self.whitening.coloured(white, len(self.channels), rate_hz)


def records(stretch: xr.Dataset, channels: Sequence[str]) -> list[Series]:
    """Return channels about their means, gaps filled, each of shape (time,)."""
    rate_hz, found = inputs.sample_rate(stretch), []
    for name in channels:
        record = stretch["witness"].sel(channel=name).values
        here = inputs.has_data(record, rate_hz)
        mean = float(record[here].mean(dtype=float)) if here.any() else 0.0
        found.append(inputs.filled(record - mean, here, rate_hz))
    return found
