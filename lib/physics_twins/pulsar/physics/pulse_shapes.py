"""A pulse as each channel receives it: a table for many alike, a track for a single one."""

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import (
    channel_smearing,
    dispersion_delay,
    scattering_time,
    smeared_cumulative,
)
from physics_twins.pulsar.physics.source import beam_components

MAX_TABLE = 1 << 24  # entries: 64 MB
REACH_FWHM = 2.0  # a Gaussian ends here, 4.7 standard deviations from its centre
REACH_TAU = 9.0  # an exponential tail ends here, with 1e-4 of its area still to come


class PulseShapes(NamedTuple):
    """How much of a pulse has arrived in each channel by a time.

    Attributes:
        arrived: Shape (mode, channel, step); it rises from 0 to the channel's part of the fluence.
        begin: First step, in spectra from the arrival, shape (channel,).
        length: Spectra that a pulse reaches, shape (channel,).
        steps: Steps in one spectrum.
    """

    arrived: NDArray[np.float32]
    begin: NDArray[np.float64]
    length: NDArray[np.int64]
    steps: int

    @property
    def weight(self) -> NDArray[np.float32]:
        """Fluence in each channel over that at the band's centre, shape (mode, channel)."""
        return self.arrived[:, :, -1]


def pulse_shapes(parameters: ObservationParameters, frequency_mhz: NDArray[np.float64]) -> PulseShapes:
    """Return the shapes of a pulse after beam, smearing and scattering.

    Raises:
        ValueError: A pulse is too long for the table.
    """
    sampling_s = parameters.sampling_time_us * 1e-6
    width_mhz = parameters.bandwidth_mhz / parameters.n_channels
    smear_s = channel_smearing(frequency_mhz, parameters.dm_pc_cm3, channel_width_mhz=width_mhz)
    tau_s = scattering_time(frequency_mhz, parameters.scattering_ms * 1e-3, parameters.scattering_index)
    beam = beam_components(parameters, frequency_mhz, reference_mhz=parameters.centre_frequency_mhz)
    wings_s = abs(beam.offset_s) + REACH_FWHM * beam.width_s
    reach_s = wings_s.max(axis=0) + smear_s / 2
    narrowest_s = np.hypot(beam.width_s.min() / 2.355, smear_s.min() / 3.5)
    steps = int(np.clip(np.ceil(6 * sampling_s / narrowest_s), 1, 64))
    begin = -reach_s / sampling_s
    length = np.ceil((2 * reach_s + REACH_TAU * tau_s) / sampling_s).astype(np.int64) + 1
    n_steps = int(length.max()) * steps + 1
    if n_steps * len(frequency_mhz) * len(beam.weight) > MAX_TABLE:
        raise ValueError(
            f"with sampling_time_us = {parameters.sampling_time_us:g} us a pulse is {length.max()}"
            f" spectra long at {frequency_mhz[length.argmax()]:.0f} MHz, too long to simulate: take a"
            " longer one, or a shorter width_ms or scattering_ms"
        )
    time_s = (begin[:, None] + np.arange(n_steps) / steps) * sampling_s  # (channel, step)
    arrived = np.zeros((len(beam.weight), *time_s.shape))
    for offset_s, width_s, weight in zip(
        beam.offset_s, beam.width_s, beam.weight.swapaxes(0, 1), strict=True
    ):
        own_s = time_s - offset_s[:, None]
        part = smeared_cumulative(own_s, width_s[:, None], tau_s[:, None], smear_s[:, None])
        arrived += weight[:, :, None] * part
    return PulseShapes(arrived.astype(np.float32), begin, length, steps)


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_pulses(
    signal_jy: NDArray[np.float32],
    first: int,
    arrival: NDArray[np.float64],
    fluence: NDArray[np.float32],
    mode: NDArray[np.int64],
    squares: NDArray[np.float64],
    arrived: NDArray[np.float32],
    begin: NDArray[np.float64],
    length: NDArray[np.int64],
    steps: int,
) -> None:
    """Add pulses to spectra, and the squares of what was added to a sum for each pulse.

    Args:
        signal_jy: Shape (time, channel).
        first: Number of its first spectrum; spectrum n receives from n - 1/2 to n + 1/2.
        arrival: When each pulse arrives, in spectra, shape (pulse, channel).
        fluence: In Jy times spectra, shape (pulse, channel).
        mode: Which shape a pulse has, shape (pulse,).
        squares: In Jy squared, shape (pulse,).
        arrived: As in `PulseShapes`, and so are the others.
    """
    for p in range(arrival.shape[0]):
        for c in range(arrival.shape[1]):
            starts = arrival[p, c] + begin[c]
            low = max(np.int64(np.floor(starts + 0.5)) - first, 0)
            high = min(np.int64(np.floor(starts + 0.5)) + length[c] + 1 - first, signal_jy.shape[0])
            if low >= high:
                continue
            shape = arrived[mode[p], c]
            place = (low + first - 0.5 - starts) * steps
            k: np.int64 = np.int64(np.floor(place))
            part = np.float32(place - k)  # the same for all samples of this pulse
            before = _between(shape, k, part)
            for t in range(low, high):
                k += steps
                now = _between(shape, k, part)
                flux = fluence[p, c] * max(now - before, np.float32(0))
                before = now
                signal_jy[t, c] += flux
                squares[p] += flux * flux


@numba.njit(inline="always")
def _between(shape: NDArray[np.float32], k: np.int64, part: np.float32) -> np.float32:
    """Return the value of a table between entry `k` and the next one."""
    if k < 0:
        return np.float32(0)
    if k + 1 >= len(shape):
        return shape[-1]
    return shape[k] + part * (shape[k + 1] - shape[k])


@dataclass(frozen=True)
class Track:
    """What a pulse adds to spectra.

    Attributes:
        first: Spectrum of its first sample, shape (channel,).
        values: What it adds, shape (sample, channel).
    """

    first: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def start(self) -> int:
        """The first spectrum it reaches."""
        return int(self.first.min())

    @property
    def stop(self) -> int:
        """The spectrum after the last one it reaches."""
        return int(self.first.max()) + len(self.values)

    def within(
        self, start: int, n_spectra: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return row, channel and values of its samples in spectra that begin at `start`."""
        row = self.first + np.arange(len(self.values))[:, None] - start
        inside = (row >= 0) & (row < n_spectra)
        channel = np.broadcast_to(np.arange(len(self.first)), row.shape)
        return row[inside], channel[inside], self.values[inside]


def pulse_track(
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
    *,
    channel_width_mhz: float,
    time_s: float,
    dm_pc_cm3: float,
    width_ms: float,
    scattering_ms: float,
) -> Track:
    """Return which part of a pulse each sample receives: over time they sum to 1 in each channel.

    Args:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        sampling_s: Time from one spectrum to the next.
        channel_width_mhz: Over which the pulse is smeared; 0 for a pulse that is not.
        time_s: Arrival at the highest channel, spectrum 0 being received around time 0.
        dm_pc_cm3: Dispersion measure.
        width_ms: Full width at half maximum.
        scattering_ms: Scattering time at 1 GHz.
    """
    delay_s = dispersion_delay(frequency_mhz, dm_pc_cm3, reference_mhz=float(frequency_mhz[0]))
    smear_s = channel_smearing(frequency_mhz, dm_pc_cm3, channel_width_mhz=channel_width_mhz)
    tau_s = scattering_time(frequency_mhz, 1e-3 * scattering_ms)
    width_s = 1e-3 * width_ms
    wing_s = REACH_FWHM * width_s + smear_s.max() / 2
    before = int(np.ceil(wing_s / sampling_s)) + 1
    after = int(np.ceil((wing_s + REACH_TAU * tau_s.max()) / sampling_s)) + 1
    arrival_s = time_s + delay_s
    first = np.rint(arrival_s / sampling_s).astype(np.int64) - before
    # Spectrum n receives from n - 1/2 to n + 1/2.
    edge_s = (first + np.arange(before + after + 2)[:, None] - 0.5) * sampling_s - arrival_s
    return Track(first, np.diff(smeared_cumulative(edge_s, width_s, tau_s, smear_s), axis=0))
