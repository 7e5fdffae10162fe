"""The stream of `stream.py` on a torch device: the same pulses, interference and statistics.

What is drawn once for each pulse and event comes from the same sky; what is drawn for each sample, the
noise, comes from the device's generator. So the truth is the same and the noise is another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics import truth
from physics_twins.pulsar.physics.digitiser import highest_count
from physics_twins.pulsar.physics.drifts import Drifts
from physics_twins.pulsar.physics.pulse_shapes import PulseShapes
from physics_twins.pulsar.physics.receiver import Receiver
from physics_twins.pulsar.physics.sky import Segment, Sky
from physics_twins.pulsar.stream import count_spectra

_TYPES = {16: torch.uint16, 32: torch.float32}


@dataclass(frozen=True, eq=False)
class TorchBlock:
    """A piece of an observation on a device.

    Attributes:
        first: Number of its first spectrum.
        counts: As the recorder stores them, shape (time, channel), the highest frequency first.
        truth: Pulses that end in this block, and interference and gaps that begin in it.
    """

    first: int
    counts: torch.Tensor
    truth: list[truth.Truth]


def stream(
    parameters: ObservationParameters,
    *,
    seed: int,
    duration_s: float | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[TorchBlock]:
    """Yield an observation block by block, made on a device.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        seed: Of all random numbers; the same seed on another kind of device gives other noise.
        duration_s: Length, without limit where infinite; `parameters.duration_s` by default.
        device: Where to compute and where the counts stay.
    """
    device = torch.device(device)
    sky = Sky(parameters, seed)
    n_spectra = count_spectra(sky, duration_s)
    recorder = TorchRecorder(sky.receiver, seed, device)
    for segment in sky.segments(n_spectra):
        counts = recorder.record(signal_on(segment, sky.shapes, device))  # (time, channel)
        segment.lose_dropped(counts)
        rows = truth.of_pulses(segment.ended(), sky, before_s=n_spectra * sky.sampling_s)
        rows += [truth.of_event(event, sky) for event in segment.begun]
        yield TorchBlock(segment.first, counts, rows)


def signal_on(segment: Segment, shapes: PulseShapes, device: torch.device) -> torch.Tensor:
    """Return pulses and interference of a segment in Jy, shape (time, channel).

    The pulses' sums of squares are brought up to date.
    """
    n_channels = shapes.arrived.shape[1]
    signal_jy = torch.zeros(segment.stop - segment.first, n_channels, device=device)
    arrived = torch.as_tensor(shapes.arrived, device=device)
    begin, length = _double(shapes.begin, device), int(shapes.length.max())
    pulses = segment.pulses
    for n in range(len(pulses.number)):
        starts = _double(pulses.arrival[n], device) + begin - segment.first  # (channel,)
        flux = torch.as_tensor(pulses.flux[n], device=device)
        added = _add_pulse(signal_jy, arrived[pulses.mode[n]], starts, flux, length, shapes.steps)
        pulses.squares[n] += added
    for event in segment.events:
        if event.kind != "dropout":
            rows, patch = event.within(segment.first, segment.stop)
            part = signal_jy[rows, event.first_channel : event.stop_channel]
            part += torch.as_tensor(patch, device=device)
    return signal_jy


class TorchRecorder:
    """The recorder of `recorder.py` on a device; the noise has no memory of the spectrum before.

    Args:
        receiver: What it does to each channel.
        seed: Of noise and drifts.
        device: Where to compute.
    """

    def __init__(self, receiver: Receiver, seed: int, device: torch.device) -> None:
        if receiver.memory.any():
            raise ValueError("memory must be 0 in all channels: on a device the noise has none")
        self._receiver, self._device = receiver, device
        self._drifts = Drifts(receiver, seed)
        self._generator = torch.Generator(device).manual_seed(seed)
        angle = np.arcsin(2 * receiver.correlation) / 2
        self._own = self._channels(receiver.sigma * np.cos(angle))
        self._before = self._channels(receiver.sigma * np.sin(angle))

    def record(self, signal_jy: torch.Tensor) -> torch.Tensor:
        """Return the counts that are stored for a signal, shape (time, channel)."""
        receiver, n_bits = self._receiver, self._receiver.n_bits
        n_time, n_channels = signal_jy.shape
        gain, baseline = (
            torch.as_tensor(drift, device=self._device)[:, None]
            for drift in self._drifts.following(n_time)
        )
        noise = torch.randn(n_time, n_channels + 1, generator=self._generator, device=self._device)
        varying = self._own * noise[:, 1:] + self._before * noise[:, :-1]
        varying += self._channels(receiver.counts_per_jy) * signal_jy
        value = gain * varying + (gain - 1) * self._channels(receiver.power)
        value += baseline * self._channels(receiver.baseline) + self._channels(receiver.level)
        if n_bits != 32:
            value = value.round_().clamp_(0, highest_count(n_bits))
        return value.to(_TYPES.get(n_bits, torch.uint8))

    def _channels(self, values: NDArray[np.floating]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._device)  # (channel,)


def _double(values: NDArray[np.float64], device: torch.device) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=device)


def _add_pulse(
    signal_jy: torch.Tensor,
    shape: torch.Tensor,
    starts: torch.Tensor,
    flux: torch.Tensor,
    length: int,
    steps: int,
) -> float:
    """Add one pulse; return the sum of the squares of what was added.

    Args:
        signal_jy: Shape (time, channel).
        shape: What has arrived, shape (channel, step).
        starts: Where the table begins, in spectra, shape (channel,).
        flux: Fluence in Jy times spectra, shape (channel,).
        length: Spectra that the pulse reaches.
        steps: Of the table in a spectrum.
    """
    n_time, n_channels = signal_jy.shape
    first = torch.floor(starts + 0.5)
    row = first[:, None] + torch.arange(length + 2, device=starts.device)  # (channel, edge)
    place = ((row - 0.5 - starts[:, None]) * steps).clamp(0, shape.shape[1] - 1.001)
    k = place.long()
    low = torch.gather(shape, 1, k)
    part = (place - k).to(torch.float32)
    arrived = low + part * (torch.gather(shape, 1, k + 1) - low)
    received = flux[:, None] * arrived.diff(dim=1).clamp(min=0)  # (channel, spectrum)
    row = row[:, :-1].long()
    inside = (row >= 0) & (row < n_time)
    channel = torch.arange(n_channels, device=row.device)[:, None].expand_as(row)
    received = received[inside]
    signal_jy.index_put_((row[inside], channel[inside]), received, accumulate=True)
    return float(received.double().square().sum())
