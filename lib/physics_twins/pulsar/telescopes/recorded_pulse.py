"""One pulse to be put into a recording: where its samples lie and how many counts it adds to each."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.physics.ism import (
    channel_smearing,
    dispersion_delay,
    scattering_time,
    smeared_cumulative,
)

# A pulse is drawn as far as this many widths and scattering times; 1e-4 of a tail is left out.
REACH_FWHM, REACH_TAILS = 2.0, 9.0


@dataclass(frozen=True)
class Pulse:
    """A pulse to put in.

    Attributes:
        time_s: Arrival of its Gaussian at the centre of the highest channel, from the first spectrum.
        dm_pc_cm3: Dispersion measure.
        fluence_jy_ms: Flux density integrated over time, the same in all channels.
        width_ms: Intrinsic full width at half maximum.
        scattering_ms: Scattering time at 1 GHz; falls as frequency^-4.
    """

    time_s: float
    dm_pc_cm3: float
    fluence_jy_ms: float
    width_ms: float
    scattering_ms: float = 0.0

    def check(self, n: int) -> None:
        """Raise ValueError where pulse number `n` is impossible."""
        for name, value in asdict(self).items():
            positive = name in ("fluence_jy_ms", "width_ms")
            if not np.isfinite(value) or value < 0 or (positive and value == 0):
                unit = {"time_s": "s", "dm_pc_cm3": "pc cm-3", "fluence_jy_ms": "Jy ms"}.get(name, "ms")
                least = "more than 0" if positive else "0 or more"
                raise ValueError(f"pulse {n}: {name} = {value:g} {unit}: must be {least}")


@dataclass(frozen=True)
class Track:
    """What a pulse adds to a recording.

    Attributes:
        first: Spectrum of its first sample, shape (channel,).
        counts: What it adds, shape (sample, channel).
    """

    first: NDArray[np.int64]
    counts: NDArray[np.float64]

    @property
    def start(self) -> int:
        """The first spectrum it reaches."""
        return int(self.first.min())

    @property
    def stop(self) -> int:
        """The spectrum after the last one it reaches."""
        return int(self.first.max()) + len(self.counts)

    def within(
        self, start: int, n_spectra: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return row, channel and counts of its samples in spectra that begin at `start`."""
        row = self.first + np.arange(len(self.counts))[:, None] - start
        inside = (row >= 0) & (row < n_spectra)
        channel = np.broadcast_to(np.arange(len(self.first)), row.shape)
        return row[inside], channel[inside], self.counts[inside]


def track(pulse: Pulse, header: FilterbankHeader, counts_per_jy: NDArray[np.float64]) -> Track:
    """Return what a pulse adds to a recording.

    Args:
        pulse: The pulse.
        header: Of the recording, the highest frequency first.
        counts_per_jy: Shape (channel,).
    """
    frequency_mhz, sampling_s = header.frequency_mhz, header.sampling_time_s
    delay_s = dispersion_delay(frequency_mhz, pulse.dm_pc_cm3, reference_mhz=frequency_mhz[0])
    smear_s = channel_smearing(
        frequency_mhz, pulse.dm_pc_cm3, channel_width_mhz=header.channel_width_mhz
    )
    tau_s = scattering_time(frequency_mhz, 1e-3 * pulse.scattering_ms)
    width_s = 1e-3 * pulse.width_ms
    wing_s = REACH_FWHM * width_s + smear_s.max() / 2
    before = int(np.ceil(wing_s / sampling_s)) + 1
    after = int(np.ceil((wing_s + REACH_TAILS * tau_s.max()) / sampling_s)) + 1
    arrival_s = pulse.time_s + delay_s
    first = np.rint(arrival_s / sampling_s).astype(np.int64) - before
    # Spectrum n receives from n - 1/2 to n + 1/2.
    edge_s = (first + np.arange(before + after + 2)[:, None] - 0.5) * sampling_s - arrival_s
    received = np.diff(smeared_cumulative(edge_s, width_s, tau_s, smear_s), axis=0)
    flux_jy = 1e-3 * pulse.fluence_jy_ms / sampling_s * received
    return Track(first, flux_jy * counts_per_jy)
