"""Simulate an observation: pulses in noise and interference, every component kept."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes, round_up
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.interference import KINDS, Event
from physics_twins.pulsar.physics.ism import dispersion_delay, scattering_time
from physics_twins.pulsar.physics.receiver import Receiver, sample_type, system_jy, transmission
from physics_twins.pulsar.physics.recorder import Recorder
from physics_twins.pulsar.physics.sky import (
    Segment,
    Sky,
    Truth,
    channel_frequencies,
    truth_of_event,
    truth_of_pulses,
)
from physics_twins.pulsar.physics.source import Rotations

PREVIEW_EVENTS = 2.0  # of each kind of interference, on average, in the window of a preview
COMPONENTS = {"nbrfi": "narrowband", "bbrfi": "broadband", "other": "other"}


def simulate(parameters: ObservationParameters, *, seed: int, each_kind: bool = False) -> xr.Dataset:
    """Return an observation and the truth behind it.

    A pulse's arrival time is that of its middle at the centre of the highest channel. Its ideal S/N
    is what a filter matched to it in time and frequency would find on average in white noise without
    interference. For observations that do not fit into memory, see `stream`: it gives the same counts.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        seed: Two calls with one seed give the same observation.
        each_kind: Whether each kind of interference gets a variable of its own besides.

    Returns:
        `data` (time, frequency) in counts; `pulses`, `noise`, `narrowband`, `broadband`, `other`
        (time, frequency) in Jy; `dropped` (time, frequency), true where data are lost; `gain` and
        `baseline` (time), the latter in Jy; `bandpass` (frequency); the `transmission` of the
        atmosphere, the `background` that is received of steady sources in Jy, and the source's
        `distance` in kpc; for each pulse `pulse_time_s`,
        `pulse_fluence_jy_ms`, `pulse_snr_ideal`, `pulse_dm_pc_cm3`, `pulse_rotation`, `pulse_mode`,
        `pulse_kind` (pulse); for each event of interference and each gap `event_kind`, `event_label`,
        `event_start_s`, `event_stop_s`, `event_low_mhz`, `event_high_mhz`, `event_fluence_jy_ms`
        (event). The highest frequency comes first.
    """
    return _observe(Sky(parameters, seed), each_kind)


def simulate_pulse(
    parameters: ObservationParameters, *, seed: int, max_spectra: int = 512, max_channels: int = 256
) -> xr.Dataset:
    """Return one pulse of median fluence in a short observation that holds its whole sweep.

    For a preview. The observation lasts 1, 2 or 5 times a power of ten of a second and the pulse
    arrives after a tenth of it, so that a figure keeps its axes while a parameter changes a little.
    Where it is longer than `max_spectra`, the sampling time grows to fit; `n_channels` is cut to
    `max_channels`. Interference that occurs at all is made to occur twice on average, since otherwise
    its strength could hardly ever be seen. The attributes of the result say what was simulated.
    """
    n_channels = min(parameters.n_channels, max_channels)
    frequency_mhz = channel_frequencies(parameters.replace(n_channels=n_channels))
    lowest_mhz, highest_mhz = frequency_mhz[-1], frequency_mhz[0]
    sweep_s = dispersion_delay(lowest_mhz, parameters.dm_pc_cm3, reference_mhz=highest_mhz)
    tau_ms = scattering_time(lowest_mhz, parameters.scattering_ms, parameters.scattering_index)
    tail_s = 4e-3 * tau_ms
    width_s = 1e-3 * parameters.width_ms
    needed_s = max((sweep_s + tail_s + 3 * width_s) / 0.9, 3 * width_s / 0.1)
    duration_s = round_up(float(max(needed_s, 64e-6 * parameters.sampling_time_us)))
    duration_s = float(np.clip(duration_s, 0.05, 600))
    sampling_us = max(parameters.sampling_time_us, duration_s / max_spectra * 1e6)
    return simulate_recorded_pulse(
        parameters.replace(n_channels=n_channels, sampling_time_us=float(sampling_us)),
        seed=seed,
        duration_s=duration_s,
        arrival_s=0.1 * duration_s,
        event_rate_hz=PREVIEW_EVENTS / duration_s,
    )


def simulate_recorded_pulse(
    parameters: ObservationParameters,
    *,
    seed: int,
    duration_s: float,
    arrival_s: float,
    event_rate_hz: float,
) -> xr.Dataset:
    """Return one pulse of median fluence in a short observation, as `simulate` does.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        seed: Of noise and interference.
        duration_s: Length of the observation.
        arrival_s: When the pulse arrives.
        event_rate_hz: How often each kind of interference occurs at least, if it does at all.
    """
    rates = {f"{kind}_rate_hz": getattr(parameters, f"{kind}_rate_hz", 0.0) for kind in KINDS}
    window = parameters.replace(
        duration_s=duration_s,
        **{name: max(rate, event_rate_hz) for name, rate in rates.items() if rate > 0},
    )
    return _observe(Sky(window, seed, train=iter([_one_pulse()]), first_s=arrival_s), False)


def _one_pulse() -> Rotations:
    zero = np.zeros(1)
    numbers = zero.astype(np.int64)
    return Rotations(1, numbers, zero + 1, zero.astype(bool), numbers, zero)


def _observe(sky: Sky, each_kind: bool) -> xr.Dataset:
    """Return what a telescope records of a sky, all of it in memory."""
    parameters = sky.parameters
    n_spectra = max(1, round(parameters.duration_s / sky.sampling_s))
    parts = _Parts(sky, n_spectra, each_kind)
    for segment in sky.segments(n_spectra):
        parts.add(segment)
    plane = "time", "frequency"
    return xr.Dataset(
        {"data": (plane, parts.data, _unit("counts"))}
        | {name: (plane, flux_jy, _unit("Jy")) for name, flux_jy in parts.components.items()}
        | {
            "dropped": (plane, parts.dropped, _unit("1")),
            "gain": ("time", parts.gain, _unit("1")),
            "baseline": ("time", parts.baseline, _unit("Jy")),
            "bandpass": ("frequency", sky.bandpass, _unit("1")),
            "transmission": ((), transmission(parameters), _unit("1")),
            "background": ((), transmission(parameters) * parameters.background_jy, _unit("Jy")),
            "distance": (
                (),
                1e-3 * parameters.dm_pc_cm3 / parameters.electron_density_cm3,
                _unit("kpc"),
            ),
        }
        | _columns("pulse", sorted(parts.pulses, key=lambda row: row.rotation), PULSE_COLUMNS)
        | _columns("event", parts.events, EVENT_COLUMNS),
        coords={
            "time": ("time", np.arange(n_spectra) * sky.sampling_s, _unit("s")),
            "frequency": ("frequency", sky.frequency_mhz, _unit("MHz")),
        },
        attrs=attributes(
            parameters,
            seed=sky.seed,
            sampling_time_s=sky.sampling_s,
            noise_sigma_jy=sky.sigma_jy,
            system_jy=system_jy(parameters),
            source_name="simulated",
        ),
    )


# Fields of a row of truth; the end of a name tells its unit.
PULSE_COLUMNS = "time_s", "fluence_jy_ms", "snr_ideal", "dm_pc_cm3", "rotation", "mode", "kind"
EVENT_COLUMNS = "kind", "label", "start_s", "stop_s", "low_mhz", "high_mhz", "fluence_jy_ms"
UNITS = {"_jy_ms": "Jy ms", "_pc_cm3": "pc cm-3", "_s": "s", "_mhz": "MHz"}


class _Parts:
    """The components of an observation as they grow, segment by segment."""

    def __init__(self, sky: Sky, n_spectra: int, each_kind: bool) -> None:
        shape = (n_spectra, len(sky.frequency_mhz))
        names = ["pulses", "noise", *COMPONENTS.values()]
        names += [kind for kind in KINDS if kind != "dropout"] if each_kind else []
        self.components = {name: np.zeros(shape, np.float32) for name in names}
        self.dropped = np.zeros(shape, bool)
        self.gain, self.baseline = (np.empty(n_spectra, np.float32) for _ in range(2))
        self.pulses: list[Truth] = []
        self.events: list[Truth] = []
        self._sky, self._duration_s = sky, n_spectra * sky.sampling_s
        self._telescope = Recorder(sky.receiver, sky.seed)
        self._noise = Recorder(_noise_alone(sky.receiver, sky.sigma_jy), sky.seed)
        self.data: NDArray[Any] = np.empty(shape, sample_type(sky.parameters.n_bits))

    def add(self, segment: Segment) -> None:
        """Render a segment."""
        rows = slice(segment.first, segment.stop)
        parts = {name: flux_jy[rows] for name, flux_jy in self.components.items()}
        segment.add_pulses(parts["pulses"], self._sky.shapes)
        for event in segment.events:
            self._add(event, segment, parts)
        signal_jy = parts["pulses"].copy()
        segment.add_interference(signal_jy)
        recorded = self._telescope.record(signal_jy, self.data[rows])
        self._noise.record(np.zeros_like(signal_jy), parts["noise"])
        segment.lose_dropped(self.data[rows])
        self.gain[rows] = recorded.gain
        self.baseline[rows] = recorded.baseline * self._sky.parameters.baseline_jy
        self.pulses += truth_of_pulses(segment.ended(), self._sky, before_s=self._duration_s)
        self.events += [truth_of_event(event, self._sky) for event in segment.begun]

    def _add(self, event: Event, segment: Segment, parts: dict[str, NDArray[np.float32]]) -> None:
        """Render an event's part in a segment."""
        if event.kind == "dropout":
            rows, patch = event.within(segment.first, segment.stop)
            lost = self.dropped[segment.first : segment.stop]
            lost[rows, event.first_channel : event.stop_channel] |= patch > 0
            return
        for name in {COMPONENTS[event.label], event.kind} & parts.keys():
            event.add_to(parts[name], segment.first)


def _noise_alone(receiver: Receiver, sigma_jy: float) -> Receiver:
    """Return a receiver that records its noise in Jy and nothing else."""
    nothing = np.zeros_like(receiver.level)
    return replace(
        receiver,
        level=nothing,
        sigma=np.full_like(nothing, sigma_jy),
        counts_per_jy=nothing,
        power=nothing,
        baseline=nothing,
        gain_drift=0.0,
        n_bits=32,
    )


def _columns(
    dimension: str, rows: list[Truth], names: Iterable[str]
) -> dict[str, tuple[str, NDArray[Any], dict[str, str]]]:
    """Return rows of truth as variables of one dimension, each named after it."""
    columns = {}
    for name in names:
        unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "1")
        values = [getattr(row, name) for row in rows]
        kind = Truth.__annotations__[name]
        columns[f"{dimension}_{name}"] = (dimension, np.array(values, dtype=kind), _unit(unit))
    return columns


def _unit(units: str) -> dict[str, str]:
    return {"units": units}
