"""What is in an observation, as rows of a table: its pulses, its interference, its gaps."""

from typing import NamedTuple

import numpy as np

from physics_twins.pulsar.physics.interference import Event
from physics_twins.pulsar.physics.sky import Pulses, Sky


class Truth(NamedTuple):
    """One pulse, one event of interference or one gap; what does not apply is not a number.

    Attributes:
        label: `pulse`, `nbrfi`, `bbrfi` or `other`.
        kind: `pulse`, `giant`, or the kind of interference.
        time_s: When a pulse arrives at the highest channel; when an event begins.
        start_s: When its first sample begins.
        stop_s: When its last sample ends.
        low_mhz: Lowest frequency that it reaches, the edge of a channel.
        high_mhz: Highest frequency that it reaches.
        fluence_jy_ms: Flux density integrated over time, mean over its channels.
        snr_ideal: Of a filter matched to a pulse in white noise without interference.
        dm_pc_cm3: Dispersion measure of a pulse.
        rotation: Number of the pulse's rotation, -1 for others.
        mode: 0, or 1 for a pulse in the other mode, -1 for others.
    """

    label: str
    kind: str
    time_s: float
    start_s: float
    stop_s: float
    low_mhz: float
    high_mhz: float
    fluence_jy_ms: float
    snr_ideal: float = np.nan
    dm_pc_cm3: float = np.nan
    rotation: int = -1
    mode: int = -1


def of_pulses(pulses: Pulses, sky: Sky, *, before_s: float) -> list[Truth]:
    """Return the truth about pulses that arrive before a time."""
    low_mhz, high_mhz = _edges_mhz(sky, 0, len(sky.frequency_mhz))
    return [
        Truth(
            label="pulse",
            kind="giant" if pulses.giant[n] else "pulse",
            time_s=float(pulses.time_s[n]),
            start_s=float(pulses.first[n] - 0.5) * sky.sampling_s,
            stop_s=float(pulses.stop[n] - 0.5) * sky.sampling_s,
            low_mhz=low_mhz,
            high_mhz=high_mhz,
            fluence_jy_ms=float(pulses.fluence_jy_ms[n]),
            snr_ideal=float(np.sqrt(pulses.squares[n]) / sky.sigma_jy),
            dm_pc_cm3=float(pulses.dm_pc_cm3[n]),
            rotation=int(pulses.number[n]),
            mode=int(pulses.mode[n]),
        )
        for n in np.flatnonzero(pulses.time_s < before_s)
    ]


def of_event(event: Event, sky: Sky) -> Truth:
    """Return the truth about an event of interference or a gap; a gap has no fluence."""
    low_mhz, high_mhz = _edges_mhz(sky, event.first_channel, event.stop_channel)
    start_s, stop_s = ((n - 0.5) * sky.sampling_s for n in (event.start, event.stop))
    lost = event.kind == "dropout"
    fluence_jy_ms = np.nan if lost else event.fluence_jy_ms(sky.sampling_s)
    return Truth(event.label, event.kind, start_s, start_s, stop_s, low_mhz, high_mhz, fluence_jy_ms)


def _edges_mhz(sky: Sky, first_channel: int, stop_channel: int) -> tuple[float, float]:
    half_mhz = sky.parameters.bandwidth_mhz / sky.parameters.n_channels / 2
    low_mhz = sky.frequency_mhz[stop_channel - 1] - half_mhz
    return float(low_mhz), float(sky.frequency_mhz[first_channel] + half_mhz)
