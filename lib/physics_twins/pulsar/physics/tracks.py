"""Where the samples of one dispersed pulse lie, and which part of its fluence each receives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import (
    channel_smearing,
    dispersion_delay,
    scattering_time,
    smeared_cumulative,
)

# A pulse is drawn as far as this many widths and scattering times; 1e-4 of a tail is left out.
REACH_FWHM, REACH_TAILS = 2.0, 9.0


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
    after = int(np.ceil((wing_s + REACH_TAILS * tau_s.max()) / sampling_s)) + 1
    arrival_s = time_s + delay_s
    first = np.rint(arrival_s / sampling_s).astype(np.int64) - before
    # Spectrum n receives from n - 1/2 to n + 1/2.
    edge_s = (first + np.arange(before + after + 2)[:, None] - 0.5) * sampling_s - arrival_s
    return Track(first, np.diff(smeared_cumulative(edge_s, width_s, tau_s, smear_s), axis=0))
