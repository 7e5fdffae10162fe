"""What is behind the pulses: the bandpass, the noise, and how much interference there is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import Estimate
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.searching.cleaning import Cleaned

# Parts of an observation among which the scatter of the occupancy is seen: bursts last many frames.
MAX_PARTS = 16


@dataclass
class Background:
    """Sums over the pieces of an observation; `add` takes one more.

    Attributes:
        band: The receiver.
        frame_spectra: Spectra in a frame.
    """

    band: Band
    frame_spectra: int

    def __post_init__(self) -> None:
        n_channels = len(self.band.frequency_mhz)
        self._count, self._sum, self._square = np.zeros((3, n_channels))
        self._rounding_variance = 0.0
        self._narrowband: list[float] = []
        self._broadband: list[float] = []

    def add(self, spectra: NDArray[Any], cleaned: Cleaned) -> None:
        """Count quiet samples and interference of the first spectra of what was cleaned."""
        core = slice(0, len(spectra))
        removed = cleaned.narrowband[:, core] | cleaned.broadband[core] | cleaned.bad_channel[:, None]
        counts = spectra.T.astype(np.float32)
        if spectra.dtype.kind in "iu":
            self._rounding_variance = 1 / 12
        quiet = ~removed
        self._count += quiet.sum(axis=1)
        self._sum += np.where(quiet, counts, 0).sum(axis=1, dtype=np.float64)
        self._square += np.where(quiet, counts**2, 0).sum(axis=1, dtype=np.float64)
        narrow = cleaned.narrowband[:, core] | cleaned.bad_channel[:, None]
        self._narrowband += self._by_frame(narrow.mean(axis=0))
        self._broadband += self._by_frame(cleaned.broadband[core].astype(float))

    def _by_frame(self, values: NDArray[np.float64]) -> list[float]:
        """Return means over frames; what is left over at the end of a piece is a shorter frame."""
        edges = np.arange(0, len(values), self.frame_spectra)
        return [float(values[a : a + self.frame_spectra].mean()) for a in edges]

    def bandpass(self) -> xr.Dataset:
        """Return the gain of each channel over their median, (frequency).

        The gain is that of the noise: `gain` with its standard error, and `noise` in counts. A channel
        without quiet samples has no number.
        """
        n = np.where(self._count > 1, self._count, np.nan)
        level = self._sum / n
        variance = self._square / n - level**2 - self._rounding_variance
        noise = np.sqrt(np.maximum(variance, 0))
        noise[noise <= 0] = np.nan
        gain = noise / np.nanmedian(noise) if np.isfinite(noise).any() else noise
        columns = {
            "gain": (gain, "1"),
            "gain_error": (gain / np.sqrt(2 * n), "1"),
            "noise": (noise, "counts"),
        }
        return xr.Dataset(
            {name: ("frequency", v, {"units": unit}) for name, (v, unit) in columns.items()},
            coords={"frequency": ("frequency", self.band.frequency_mhz, {"units": "MHz"})},
        )

    def estimates(self) -> dict[str, Estimate]:
        """Return the noise in counts and the parts that narrow- and broad-band interference fill."""
        noise = self.bandpass()["noise"].values
        noise = noise[np.isfinite(noise)]
        found = {
            "narrowband_occupancy": _mean(self._narrowband),
            "broadband_occupancy": _mean(self._broadband),
        }
        if len(noise):
            n_quiet = max(float(np.median(self._count)), 2.0)
            # Of a median over channels, each with its own error.
            error = np.median(noise) / np.sqrt(2 * n_quiet) * np.sqrt(np.pi / 2 / len(noise))
            found["noise_counts"] = Estimate.of(float(np.median(noise)), error, "counts")
        return found


def _mean(frames: list[float]) -> Estimate:
    """Return the mean over frames, with an error from the scatter of longer parts."""
    values = np.array(frames)
    parts = [part.mean() for part in np.array_split(values, min(MAX_PARTS, len(values)))]
    error = float(np.std(parts, ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else 1.0
    mean = float(values.mean())
    return Estimate(value=mean, low=max(mean - error, 0.0), high=min(mean + error, 1.0))
