"""What reaches the telescope, segment by segment: pulses and interference as short lists, not samples.

All random numbers follow from the seed, the segment and the kind of thing that is drawn, so that a
longer observation begins like a shorter one. What was in it is told as rows of a table.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import BandParameters, ObservationParameters
from physics_twins.pulsar.physics.interference import Event, events_begun
from physics_twins.pulsar.physics.ism import Band, Screen, dispersion_delay
from physics_twins.pulsar.physics.pulse_shapes import PulseShapes, add_pulses, pulse_shapes
from physics_twins.pulsar.physics.receiver import (
    Receiver,
    bandpass,
    receiver_of,
    sample_noise_jy,
    transmission,
)
from physics_twins.pulsar.physics.source import Rotations, arrival_s, rotations

SEGMENT_SAMPLES = 1 << 20
PULSAR_KEY, BAND_KEY = 0, 3
JITTER_REACH = 8.0  # standard deviations: no pulse comes earlier


@dataclass(frozen=True, eq=False)
class Pulses:
    """Pulses on their way through the band.

    Attributes:
        number: Of the rotation, shape (pulse,).
        giant: Whether it is a giant, shape (pulse,).
        mode: 0, or 1 in the other mode, shape (pulse,).
        time_s: When it arrives at the highest channel, shape (pulse,).
        dm_pc_cm3: Dispersion measure then, shape (pulse,).
        fluence_jy_ms: Mean over the band, above the atmosphere, shape (pulse,).
        arrival: When it arrives, in spectra, shape (pulse, channel).
        flux: Fluence at the band's centre, times scintillation, in Jy times spectra, (pulse, channel).
        first: First spectrum that it reaches, shape (pulse,).
        stop: The spectrum after the last one, shape (pulse,).
        squares: Sum over its samples so far, in Jy squared, shape (pulse,); whoever renders adds to it.
    """

    number: NDArray[np.int64]
    giant: NDArray[np.bool_]
    mode: NDArray[np.int64]
    time_s: NDArray[np.float64]
    dm_pc_cm3: NDArray[np.float64]
    fluence_jy_ms: NDArray[np.float64]
    arrival: NDArray[np.float64]
    flux: NDArray[np.float32]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    squares: NDArray[np.float64]

    def chosen(self, mask: NDArray[np.bool_]) -> "Pulses":
        """Return those where a mask is true."""
        return Pulses(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    def joined(self, others: "Pulses") -> "Pulses":
        """Return these and others."""
        pairs = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields(self)}
        return Pulses(**{name: np.concatenate(pair) for name, pair in pairs.items()})


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of an observation, before the receiver.

    Attributes:
        first: Number of its first spectrum.
        stop: The spectrum after its last one.
        last: Whether the observation ends with it.
        pulses: All that reach into it.
        events: All interference that reaches into it.
        begun: The events that begin in it.
    """

    first: int
    stop: int
    last: bool
    pulses: Pulses
    events: list[Event]
    begun: list[Event]

    def add_pulses(self, signal_jy: NDArray[np.float32], shapes: PulseShapes) -> None:
        """Add the pulses to the segment's spectra, shape (time, channel), and sum up their squares."""
        p = self.pulses
        add_pulses(signal_jy, self.first, p.arrival, p.flux, p.mode, p.squares, *shapes)

    def add_interference(self, signal_jy: NDArray[np.float32]) -> None:
        """Add the interference to the segment's spectra, shape (time, channel)."""
        for event in self.events:
            if event.kind != "dropout":
                event.add_to(signal_jy, self.first)

    def lose_dropped(self, counts: Any) -> None:
        """Set to zero what was lost of the segment's counts, an array or tensor (time, channel)."""
        for event in self.events:
            if event.kind == "dropout":
                rows, _ = event.within(self.first, self.stop)
                counts[rows, event.first_channel : event.stop_channel] = 0

    def ended(self) -> Pulses:
        """Return the pulses that reach no later segment."""
        return self.pulses.chosen((self.pulses.stop <= self.stop) | self.last)


class Sky:
    """A pulsar and interference over a telescope.

    Args:
        parameters: All of them.
        seed: Of everything.
        train: The pulses, from `rotations` by default.
        first_s: When rotation 0 arrives; within the first period by default.

    Attributes:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        sigma_jy: Standard deviation of the noise in a sample.
        bandpass: Relative gain, shape (channel,).
        receiver: What the telescope makes of it.
        shapes: Of a pulse in each channel.
        segment_spectra: Length of a segment.
    """

    def __init__(
        self,
        parameters: ObservationParameters,
        seed: int,
        *,
        train: Iterator[Rotations] | None = None,
        first_s: float | None = None,
    ) -> None:
        self.parameters, self.seed = parameters, seed
        self.sampling_s = parameters.sampling_time_us * 1e-6
        self.frequency_mhz = channel_frequencies(parameters)
        self.sigma_jy = sample_noise_jy(parameters)
        self.bandpass = bandpass(
            self.frequency_mhz,
            parameters.bandpass_ripple,
            np.random.default_rng([seed, BAND_KEY]),
            n_notches=parameters.n_notches,
        )
        self.shapes: PulseShapes = pulse_shapes(parameters, self.frequency_mhz)
        self.segment_spectra = max(16, SEGMENT_SAMPLES // parameters.n_channels)
        self._train = rotations(parameters, seed) if train is None else train
        phase = np.random.default_rng([seed, PULSAR_KEY]).random()
        self._first_s = phase * parameters.period_s if first_s is None else first_s
        top_mhz = float(self.frequency_mhz[0])
        self._delay_per_dm = dispersion_delay(self.frequency_mhz, 1.0, reference_mhz=top_mhz)
        self._screen = None
        if parameters.scintillation_mhz:
            scintles = parameters.scintillation_mhz, parameters.scintillation_s
            index = parameters.scattering_index
            self._screen = Screen(self.frequency_mhz, *scintles, index=index, seed=seed)

    @property
    def receiver(self) -> Receiver:
        """What the telescope makes of what reaches it."""
        return receiver_of(self.parameters, self.bandpass, self.sigma_jy)

    def segments(self, n_spectra: float) -> Iterator[Segment]:
        """Yield so many spectra, or without end where infinite, piece by piece."""
        pending, horizon = self._nothing(), 0.0
        events: list[Event] = []
        for first in itertools.count(step=self.segment_spectra):
            stop = int(min(first + self.segment_spectra, n_spectra))
            while horizon < stop and (turns := next(self._train, None)) is not None:
                pending = pending.joined(self._pulses(turns))
                horizon = self._horizon(turns.stop)
            begun = events_begun(
                self.parameters,
                self.seed,
                first=first,
                n_spectra=stop - first,
                segment_spectra=self.segment_spectra,
                frequency_mhz=self.frequency_mhz,
                sampling_s=self.sampling_s,
            )
            events = [event for event in events if event.stop > first] + begun
            here = (pending.first < stop) & (pending.stop > first)
            segment = Segment(first, stop, stop >= n_spectra, pending.chosen(here), events, begun)
            yield segment
            if segment.last:
                return
            pending.squares[here] = segment.pulses.squares
            pending = pending.chosen(pending.stop > stop)

    def _pulses(self, turns: Rotations) -> Pulses:
        """Return the pulses of some rotations as they reach the telescope."""
        p, shapes = self.parameters, self.shapes
        time_s = self._first_s + arrival_s(turns.number, p) + turns.jitter * p.width_ms * 1e-3
        dm_pc_cm3 = np.maximum(p.dm_pc_cm3 + p.dm_drift_pc_cm3_per_h * time_s / 3600, 0)
        arrival = (time_s[:, None] + np.outer(dm_pc_cm3, self._delay_per_dm)) / self.sampling_s
        brightness = np.ones((len(time_s), p.n_channels), np.float32)
        if self._screen is not None:
            brightness = self._screen.intensity(time_s)
        median_jy = transmission(p) * p.fluence_jy_ms * 1e-3 / self.sampling_s
        starts = np.floor((arrival + shapes.begin).min(axis=1) + 0.5).astype(np.int64)
        ends = np.ceil((arrival + shapes.begin + shapes.length).max(axis=1)).astype(np.int64) + 2
        return Pulses(
            number=turns.number,
            giant=turns.giant,
            mode=turns.mode,
            time_s=time_s,
            dm_pc_cm3=dm_pc_cm3,
            fluence_jy_ms=p.fluence_jy_ms
            * turns.energy
            * (brightness * shapes.weight[turns.mode]).mean(axis=1),
            arrival=arrival,
            flux=(median_jy * turns.energy[:, None] * brightness).astype(np.float32),
            first=starts,
            stop=ends,
            squares=np.zeros(len(time_s)),
        )

    def _nothing(self) -> Pulses:
        none = np.zeros(0)
        numbers = none.astype(np.int64)
        return self._pulses(Rotations(0, numbers, none, none.astype(bool), numbers, none))

    def _horizon(self, number: int) -> float:
        """Return a spectrum that no pulse reaches from this rotation on."""
        p = self.parameters
        arrives_s = self._first_s + float(arrival_s(np.array([number]), p)[0])
        early_s = JITTER_REACH * p.jitter * p.width_ms * 1e-3
        return (arrives_s - early_s) / self.sampling_s + float(self.shapes.begin.min()) - 1


def channel_frequencies(parameters: BandParameters) -> NDArray[np.float64]:
    """Return the channel centres in MHz, the highest first, shape (frequency,)."""
    width_mhz = parameters.bandwidth_mhz / parameters.n_channels
    highest_mhz = parameters.centre_frequency_mhz + (parameters.bandwidth_mhz - width_mhz) / 2
    return highest_mhz - width_mhz * np.arange(parameters.n_channels, dtype=np.float64)


def receiver_band(parameters: BandParameters) -> Band:
    """Return the channels and the sampling time.

    >>> receiver_band(BandParameters()).frequency_mhz[[0, -1]]
    array([1529.375, 1210.625])
    """
    return Band(channel_frequencies(parameters), 1e-6 * parameters.sampling_time_us)


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


def truth_of_pulses(pulses: Pulses, sky: Sky, *, before_s: float) -> list[Truth]:
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


def truth_of_event(event: Event, sky: Sky) -> Truth:
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
