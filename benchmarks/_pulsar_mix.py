"""Streams in the Effelsberg mix, block by block: what labelling is measured on.

Of the frames 4.7 % hold narrow-band, 0.4 % broad-band interference; in `pulse_fraction` of them a Crab-
like pulse arrives, with DM 56.77 and a S/N of 7 or more that falls off as a power law.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.windows import (
    FRAME_SPECTRA,
    Canvas,
    Pulse,
    add_interference,
    paint_pulse,
)
from physics_twins.pulsar.physics.receiver import bandpass
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.verb_parameters import EFFELSBERG_MIX, WindowParameters

PULSE_FRACTION = 0.002
DM_PC_CM3 = 56.77
LOWEST_SNR, HIGHEST_SNR = 7.0, 1000.0
# Cumulative slope of giant pulses' energies, between those of the Crab's short and long ones.
SLOPE = 2.0
WIDTHS_MS = 0.3, 1.5
WIDTH_MHZ = 1.25  # of a channel
SIGMA_COUNTS, LEVEL_COUNTS = 16.0, 96.0
SEGMENT_FRAMES = 512
AFTER_FRAMES = 8  # empty, so that no sweep leaves its segment


@dataclass(frozen=True)
class Segment:
    """Part of a stream.

    Attributes:
        data: 8-bit counts, shape (time, channel).
        arrival: Of each pulse at the highest channel, in samples, shape (pulse,).
        snr: Ideal S/N of its whole sweep, shape (pulse,).
        held: Truth of each frame: pulse, narrow-band, broad-band interference, shape (frame, 3).
    """

    data: NDArray[np.uint8]
    arrival: NDArray[np.float64]
    snr: NDArray[np.float64]
    held: NDArray[np.bool_]


def segments(
    n_segments: int, *, seed: int, pulse_fraction: float = PULSE_FRACTION
) -> Iterator[Segment]:
    """Yield the segments of one stream, all behind the same bandpass."""
    generators = np.random.SeedSequence(seed).spawn(n_segments + 1)
    level, gain = _level_and_gain(np.random.default_rng(generators[0]))
    for generator in generators[1:]:
        yield _segment(np.random.default_rng(generator), level, gain, pulse_fraction)


def _segment(
    rng: np.random.Generator,
    level: NDArray[np.float32],
    gain: NDArray[np.float32],
    pulse_fraction: float,
) -> Segment:
    n_frames = SEGMENT_FRAMES - AFTER_FRAMES
    parameters = WindowParameters().model_copy(update=EFFELSBERG_MIX)
    shares = pulse_fraction, parameters.nbrfi_fraction, parameters.bbrfi_fraction
    held = rng.random((n_frames, 3)) < shares
    band = receiver_band(parameters)
    signal = np.zeros((SEGMENT_FRAMES * FRAME_SPECTRA, len(level)), np.float32)
    canvas = Canvas(signal, n_frames, band)
    add_interference(canvas, "nbrfi", held[:, 1], parameters, rng)
    add_interference(canvas, "bbrfi", held[:, 2], parameters, rng)
    frames = np.flatnonzero(held[:, 0])
    arrival = (frames + rng.random(len(frames))) * FRAME_SPECTRA
    snr = LOWEST_SNR * rng.uniform((LOWEST_SNR / HIGHEST_SNR) ** SLOPE, 1, len(frames)) ** (-1 / SLOPE)
    for sample, height in zip(arrival, snr, strict=True):
        width_ms = float(np.exp(rng.uniform(*np.log(WIDTHS_MS))))
        pulse = Pulse(float(height), DM_PC_CM3, width_ms, smeared=True)
        paint_pulse(signal, pulse, float(sample), band.frequency_mhz, band.sampling_s, WIDTH_MHZ)
    data = np.empty(signal.shape, np.uint8)
    for begin in range(0, len(data), 4096):
        part = slice(begin, begin + 4096)
        noise = rng.standard_normal(data[part].shape, dtype=np.float32)
        _record(signal[part], noise, level, gain, data[part])
    return Segment(data, arrival, snr, held)


def _level_and_gain(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of the noise in each channel, in counts."""
    shape = bandpass(receiver_band(WindowParameters()).frequency_mhz, 0.2, rng)
    level, gain = (
        counts * shape * np.exp(0.05 * rng.standard_normal(len(shape)))
        for counts in (LEVEL_COUNTS, SIGMA_COUNTS)
    )
    return level.astype(np.float32), gain.astype(np.float32)


@numba.njit(cache=True, fastmath=True)
def _record(signal, noise, level, gain, out):  # pragma: no cover
    for t in range(len(out)):
        for c in range(out.shape[1]):
            value = level[c] + gain[c] * (signal[t, c] + noise[t, c])
            out[t, c] = np.uint8(min(max(np.rint(value), np.float32(0)), np.float32(255)))
