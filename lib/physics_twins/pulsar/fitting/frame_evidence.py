"""What one frame of a stream tells of a calibrated twin: its pulse, its noise, its interference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.fitting.least_squares import gradients, solve
from physics_twins.pulsar.fitting.pulse_finding import expected_boxcar_s
from physics_twins.pulsar.fitting.pulse_model import (
    DM,
    SCATTERING,
    SQUARED_WIDTH,
    TIME,
    ChannelLaws,
    squared_sigma,
)
from physics_twins.pulsar.fitting.pulse_windows import cut
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, Band
from physics_twins.pulsar.searching.cleaning import Cleaned, clean
from physics_twins.pulsar.searching.dedispersion import dedisperse, delay_samples, longest_delays

SHAPE = {"dm_pc_cm3": DM, "width_ms": SQUARED_WIDTH, "scattering_ms": SCATTERING}
# Added to an occupancy before its logarithm is taken.
LEAST_OCCUPANCY = 1e-3


@dataclass(frozen=True)
class FrameEvidence:
    """What a frame tells.

    Attributes:
        slope: Slope of the logarithm of the likelihood with each number of `SHAPE` at its calibrated
            value, fluence and arrival eliminated; empty without a pulse.
        information: Its variance, where the calibration holds: by how much a change of one shifts it.
        background: The logarithms of fluence, noise and occupancies, and how far the bandpass is
            from the expected; not finite where the frame does not tell.
        gain: Noise of each channel in counts, shape (channel,).
        snr: S/N of the pulse; 0 without one.
    """

    slope: dict[str, float]
    information: dict[str, float]
    background: dict[str, float]
    gain: NDArray[np.float64]
    snr: float


class FrameReader:
    """Reads frames as a calibrated twin expects them.

    Attributes:
        expected: The calibrated observation.
        band: The receiver.
        gain: Noise of each channel as it should be, in counts, shape (channel,); None if not known.
    """

    def __init__(
        self,
        expected: ObservationParameters,
        band: Band,
        *,
        snr_min: float,
        gain: NDArray[np.float64] | None = None,
    ) -> None:
        """Prepare for frames of one receiver.

        Args:
            expected: The calibrated observation.
            band: The receiver.
            snr_min: S/N of a pulse whose shape is read.
            gain: Noise of each channel as it should be.
        """
        self.expected, self.band, self._snr_min, self.gain = expected, band, snr_min, gain
        self._laws = ChannelLaws.of(band, expected)
        self._boxcar_s = expected_boxcar_s(expected, self._laws)
        dm = np.array([expected.dm_pc_cm3])
        self._delays = delay_samples(band.frequency_mhz, dm, band.sampling_s)[0]
        self._longest = longest_delays(band.frequency_mhz, expected.dm_pc_cm3, band.sampling_s)

    def read(self, spectra: NDArray[Any]) -> FrameEvidence:
        """Return what a frame tells.

        Args:
            spectra: Counts, the highest frequency first, shape (time, channel).
        """
        cleaned = clean(spectra, delays=self._longest)
        gain = _noise(spectra, cleaned)
        level = np.nanmedian(gain) if np.isfinite(gain).any() else np.nan
        narrow = cleaned.narrowband | cleaned.bad_channel[:, None]
        background = {
            "noise": float(np.log(level)) if level > 0 else np.nan,
            "bandpass": np.nan if self.gain is None else bandpass_distance(gain, self.gain),
            # Interference comes in bursts: its logarithm is not ruled by the strongest.
            "narrowband_occupancy": float(np.log(narrow.mean() + LEAST_OCCUPANCY)),
            "broadband_occupancy": float(np.log(cleaned.broadband.mean() + LEAST_OCCUPANCY)),
            "fluence": np.nan,
        }
        slope, information, fluence, snr = self._pulse(cleaned)
        if snr:
            background["fluence"] = float(np.log(fluence))
        return FrameEvidence(slope, information, background, gain, snr)

    def _pulse(self, cleaned: Cleaned) -> tuple[dict[str, float], dict[str, float], float, float]:
        """Return slopes, information, fluence and S/N of the frame's strongest pulse."""
        nothing: tuple[dict[str, float], dict[str, float], float, float] = ({}, {}, np.nan, 0.0)
        arrival_s = self._arrival_s(cleaned)
        if arrival_s is None:
            return nothing
        windows = cut(
            cleaned.data,
            self.band,
            self.expected.dm_pc_cm3,
            [arrival_s],
            self._boxcar_s,
            laws=self._laws,
        )
        if not windows.values.any():
            return nothing
        shape = [
            1e3 * (arrival_s - windows.start_s[0]),
            self.expected.dm_pc_cm3,
            squared_sigma(self.expected.width_ms),
            self.expected.scattering_ms,
        ]
        found = solve(windows, np.array([shape]), ())
        snr = float(found.snr[0])
        if snr < self._snr_min:
            return nothing
        matrix, slopes = found.matrices()[0], gradients(found)[0]
        slope, information = {}, {}
        for name, column in SHAPE.items():
            n = column - TIME
            along = matrix[0, n] / matrix[0, 0]
            factor = self._factor(column)
            slope[name] = float(slopes[n] - along * slopes[0]) * factor
            information[name] = max(float(matrix[n, n] - along * matrix[0, n]), 1e-12) * factor**2
        return slope, information, float(found.fluence[0]), snr

    def _factor(self, column: int) -> float:
        """Return the slope of the fitted number with the parameter."""
        if column != SQUARED_WIDTH:
            return 1.0
        return 2 * self.expected.width_ms * SIGMA_PER_FWHM**2

    def _arrival_s(self, cleaned: Cleaned) -> float | None:
        """Return where the frame's strongest pulse arrives, None where the frame is too short."""
        series, present = dedisperse(cleaned.data, self._delays, ~cleaned.bad_channel)
        whole = int((present == present.max()).sum()) if present.max() > 0 else 0
        n_box = max(1, round(self._boxcar_s / self.band.sampling_s))
        if whole <= 2 * n_box:
            return None
        sums = np.convolve(series[:whole], np.ones(n_box), mode="valid")
        return (int(sums.argmax()) + (n_box - 1) / 2) * self.band.sampling_s


def bandpass_distance(gain: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return how far a bandpass is from the expected one: the median channel's relative change.

    Args:
        gain: Noise of each channel in counts, not finite where unknown, shape (channel,).
        expected: The same as it should be; only ratios of channels count.
    """
    known = np.isfinite(gain) & np.isfinite(expected)
    if not known.any():
        return np.nan
    change = np.log(gain[known] / expected[known])
    return float(np.median(np.abs(change - np.median(change))))


def frame_noise(frames: list[FrameEvidence]) -> NDArray[np.float64]:
    """Return the noise of each channel over some frames, shape (channel,)."""
    gains = np.stack([frame.gain for frame in frames])
    known = np.isfinite(gains).any(axis=0)
    noise = np.full(gains.shape[1], np.nan)
    noise[known] = np.nanmedian(gains[:, known], axis=0)
    return noise


def expected_shifts(information: Mapping[str, float], changes: Mapping[str, float]) -> dict[str, float]:
    """Return by how many standard deviations changes of the shape would move a frame's slopes."""
    return {name: changes[name] * float(np.sqrt(i)) for name, i in information.items()}


def _noise(spectra: NDArray[Any], cleaned: Cleaned) -> NDArray[np.float64]:
    """Return the standard deviation of each channel's quiet samples, not finite where it has none."""
    quiet = ~(cleaned.narrowband | cleaned.broadband | cleaned.bad_channel[:, None])
    counts = np.where(quiet, spectra.T.astype(np.float32), 0.0)
    n = quiet.sum(axis=1).astype(float)
    n[n < 32] = np.nan
    mean = counts.sum(axis=1) / n
    variance = np.where(quiet, (counts - mean[:, None]) ** 2, 0.0).sum(axis=1) / (n - 1)
    return np.sqrt(np.where(variance > 0, variance, np.nan))
