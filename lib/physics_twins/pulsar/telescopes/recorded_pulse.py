"""One pulse to be put into a recording: where its samples lie and how many counts it adds to each."""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.physics.tracks import Track, pulse_track


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


def track(pulse: Pulse, header: FilterbankHeader, counts_per_jy: NDArray[np.float64]) -> Track:
    """Return what a pulse adds to a recording, in counts.

    Args:
        pulse: The pulse.
        header: Of the recording, the highest frequency first.
        counts_per_jy: Shape (channel,).
    """
    known = asdict(pulse)
    fluence_jy_s = 1e-3 * known.pop("fluence_jy_ms")
    sampling_s, width_mhz = header.sampling_time_s, header.channel_width_mhz
    part = pulse_track(header.frequency_mhz, sampling_s, channel_width_mhz=width_mhz, **known)
    return replace(part, values=fluence_jy_s / sampling_s * part.values * counts_per_jy)
