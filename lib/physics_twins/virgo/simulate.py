"""Simulate a stretch of strain with its witnesses: every part of the strain is kept."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes
from physics_twins.virgo import couplings, glitches, noise, signals, witnesses
from physics_twins.virgo.couplings import COUPLINGS, RESPONSE_S
from physics_twins.virgo.parameters import GLITCH_FAMILIES, LASTING_FAULTS, VirgoParameters
from physics_twins.virgo.sensitivity import SOURCES, noise_asd

Series = NDArray[np.floating]

GPS_START_S = 1_400_000_000.0
# The parts of the strain in the order in which they are added up.
COMPONENTS = ("noise", *(c.name for c in COUPLINGS), "witnessed_glitches", "other_glitches", "signals")
_PAD_S = RESPONSE_S  # simulated before and after the stretch, so that filters have settled
_WITNESS_GAIN = 2.0  # S/N of a glitch in its witness over that in the strain
# When faults begin unless the seed draws it, as parts of the stretch; those of LASTING_FAULTS end.
_FAULT_AT = {
    "witness_gap_s": 0.3, "loop_open_s": 0.15, "missing_s": 0.7, "delay_jump_ms": 0.5, "sign_flip": 0.6,
    "line_stops": 0.55,
}  # fmt: skip
_DRAWN_AT = (0.05, 0.95)  # what lasts begins no later than it fits in


def simulate(parameters: VirgoParameters, *, seed: int) -> xr.Dataset:
    """Return a stretch of strain, its witnesses and the truth behind it.

    Args:
        parameters: Detector, couplings, faults, glitches and signals.
        seed: Two calls with one seed give the same stretch. A part of the strain does not change when
            another's parameters do.

    Returns:
        `strain` (time), the sum of all `COMPONENTS`, each a variable (time) of its own, in that order;
        `witness` (channel, time), as recorded, in the units that the coordinate `unit` says. Of each
        coupling `response` (coupling, lag), its filter, and `gain` (coupling, time), by which its part
        is multiplied. Of each glitch `glitch_time`, `glitch_family`, `glitch_snr` and `glitch_channel`,
        empty for one that no channel witnesses; of each signal `signal_time`, when it coalesces,
        `signal_snr` and `signal_distance`; of each fault `fault_kind`, `fault_channel`, `fault_start`
        and `fault_stop`. The attribute `gps_start_s` is the time of the first sample.
    """
    stretch = _Stretch(parameters, seed)
    parts = {"noise": stretch.detector_noise()} | stretch.coupled()
    transients, glitch_table = stretch.glitches()
    parts |= transients
    parts["signals"], signal_table = stretch.signals()
    strain = np.zeros(len(stretch.time_s))
    for name in COMPONENTS:
        strain += parts[name]
    stretch.record_unsafe(strain)
    faults = stretch.faults()
    names = list(stretch.recorded)
    lag_s = (np.arange(stretch.responses.shape[1]) - stretch.responses.shape[1] // 2) * stretch.step_s
    more = {"sensitivity": SOURCES[parameters.detector], "fringe_phase": stretch.fringe_phase}
    return xr.Dataset(
        {"strain": ("time", strain, _unit("1"))}
        | {name: ("time", parts[name], _unit("1")) for name in COMPONENTS}
        | {
            "witness": (("channel", "time"), np.array(list(stretch.recorded.values())), _unit("unit")),
            "response": (("coupling", "lag"), stretch.responses, _unit("strain / (unit of basis)")),
            "gain": (("coupling", "time"), stretch.gains, _unit("1")),
        }
        | glitch_table
        | signal_table
        | faults,
        coords={
            "time": ("time", stretch.time_s, _unit("s")),
            "channel": ("channel", names),
            "unit": ("channel", [stretch.units[name] for name in names]),
            "coupling": ("coupling", [c.name for c in COUPLINGS]),
            "lag": ("lag", lag_s, _unit("s")),
        },
        attrs=attributes(parameters, seed=seed, gps_start_s=GPS_START_S, **more),
    )


@dataclass
class _Stretch:
    """A stretch as it grows: what each channel records, and the couplings of this seed."""

    parameters: VirgoParameters
    seed: int
    recorded: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rate_hz = self.parameters.sample_rate_hz
        self.step_s = 1 / self.rate_hz
        self.n_samples = round(self.parameters.duration_s * self.rate_hz)
        self.n_pad = int(_PAD_S * self.rate_hz)
        self.time_s = np.arange(self.n_samples) * self.step_s
        self.inside = slice(self.n_pad, self.n_pad + self.n_samples)
        rng = noise.generator(self.seed, "temperature")
        self.temperature = noise.slow(self.n_samples, 0.3 * self.n_samples, rng)
        responses = [couplings.response(c, self.parameters, seed=self.seed) for c in COUPLINGS]
        self.fault_s = _fault_times(self.parameters, self.seed)
        course = self.parameters, self.time_s, self.temperature, self.fault_s
        self.responses = np.array(responses)
        self.gains = np.array([couplings.gain(c, *course) for c in COUPLINGS])
        self.fringe_phase = float(noise.generator(self.seed, "fringe").uniform(0, 2 * np.pi))

    def detector_noise(self) -> Series:
        asd = partial(noise_asd, detector=self.parameters.detector)
        return noise.coloured(asd, self.n_samples, self.rate_hz, noise.generator(self.seed, "noise"))

    def coupled(self) -> dict[str, Series]:
        """Return the parts of the strain that couplings make; record all channels but unsafe ones."""
        moves = witnesses.sources(self.n_samples + 2 * self.n_pad, self.rate_hz, self.seed)
        if open_s := self.parameters.loop_open_s:
            first = self.n_pad + self._at("loop_open_s")
            moves[witnesses.LENGTH.name][first : first + self._sample(open_s)] = 0
        parts = {}
        fringe = {"calibration": self.parameters.fringe_calibration, "phase": self.fringe_phase}
        for coupling, taps, gain in zip(COUPLINGS, self.responses, self.gains, strict=True):
            options = fringe if coupling.name == "fringe" else {}
            whole = couplings.strain_of(coupling, moves, taps, **options)
            parts[coupling.name] = whole[self.inside] * gain
        for channel in witnesses.COUPLED:
            self._record(channel, moves[channel.name][self.inside])
        wind = witnesses.WIND
        self._record(wind, wind.source(self.n_samples, self.rate_hz, self.seed))
        self._record(witnesses.TEMPERATURE, 293.0 + 0.5 * self.temperature)
        self._record_others()
        self._break_witnesses(moves[witnesses.MAGNET.name])
        return parts

    def _record(self, channel: witnesses.Channel, source: Series) -> None:
        sensor = channel.sensor_noise(self.n_samples, self.rate_hz, self.seed) if channel.floor else 0
        self._keep(channel.name, channel.unit, source + sensor)

    def _keep(self, name: str, unit: str, values: Series) -> None:
        self.recorded[name], self.units[name] = values.astype(np.float32), unit

    def _record_others(self) -> None:
        """Record the channels that are no witness: idle ones, counters of packets, dead ones."""
        for channel in (*witnesses.VIBRATION, *map(witnesses.idle, range(self.parameters.n_idle))):
            self._record(channel, channel.source(self.n_samples, self.rate_hz, self.seed))
        for n in range(self.parameters.n_counters):
            rate = 100.0 * (n + 1)
            self._keep(f"DAQ_{n}_Tpro_processed_packets", "1", np.floor(self.time_s * rate))
        for n in range(self.parameters.n_dead):
            self._keep(f"ENV_DEAD_{n}", "V", np.zeros(self.n_samples))

    def _break_witnesses(self, field_nt: Series) -> None:
        """Let channels fail as the parameters ask for; what moves is not changed."""
        asked = self.parameters
        if asked.delay_jump_ms:
            late = round(1e-3 * asked.delay_jump_ms * self.rate_hz)
            since = self._at("delay_jump_ms")
            record = self.recorded[witnesses.MAGNET.name]
            first = self.n_pad + since - late
            delayed = field_nt[first : first + self.n_samples - since]
            sensor = witnesses.MAGNET.sensor_noise(self.n_samples, self.rate_hz, self.seed)
            record[since:] = delayed + sensor[since:]
        if asked.witness_off != "none":
            self.recorded[asked.witness_off][:] = 0.0
        for name, fault, value in (
            (witnesses.GROUND.name, "witness_gap_s", 0.0),
            (witnesses.BEAM.name, "missing_s", np.nan),
        ):
            first = self._at(fault)
            self.recorded[name][first : first + self._sample(getattr(asked, fault))] = value

    def _at(self, fault: str) -> int:
        return self._sample(self.fault_s[fault])

    def _sample(self, time_s: float) -> int:
        return round(time_s * self.rate_hz)

    def glitches(self) -> tuple[dict[str, Series], dict[str, Any]]:
        """Return the strain of glitches, witnessed and other, and their table; record the witnessed."""
        asked, rng = self.parameters, noise.generator(self.seed, "glitches")
        families = GLITCH_FAMILIES if asked.glitch_family == "all" else (asked.glitch_family,)
        names = ("witnessed_glitches", "other_glitches")
        parts: dict[str, Series] = {name: np.zeros(self.n_samples) for name in names}
        rows = []
        n_glitches = rng.poisson(asked.glitch_rate_hz * asked.duration_s)
        for time_s in np.sort(rng.uniform(0, asked.duration_s, n_glitches)):
            family = families[rng.integers(len(families))]
            snr = asked.glitch_snr * np.exp(0.5 * rng.standard_normal())
            middle = round(time_s * self.rate_hz)
            shape = glitches.draw(family, snr, asked.detector, self.rate_hz, rng)
            seen = rng.uniform() < asked.witnessed_fraction
            by = witnesses.VIBRATION[rng.integers(2)] if seen else None
            self._add(parts["witnessed_glitches" if by else "other_glitches"], shape, middle)
            if by:
                self._add(self.recorded[by.name], self._seen(by, shape, snr), middle)
            rows.append((middle * self.step_s, family, snr, by.name if by else ""))
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        return parts, {
            "glitch_time": ("glitch", np.array(columns[0], dtype=float), _unit("s")),
            "glitch_family": ("glitch", np.array(columns[1], dtype=str)),
            "glitch_snr": ("glitch", np.array(columns[2], dtype=float), _unit("1")),
            "glitch_channel": ("glitch", np.array(columns[3], dtype=str)),
        }

    def _seen(self, by: witnesses.Channel, shape: Series, snr: float) -> Series:
        """Return what a channel records of a glitch: its shape, as loud as the gain says."""
        frequency_hz = np.fft.rfftfreq(len(shape), self.step_s)
        density = np.abs(np.fft.rfft(shape) * self.step_s) ** 2 / by.asd(frequency_hz) ** 2
        alone = np.sqrt(4 * np.sum(density[1:]) * frequency_hz[1])
        return shape * (_WITNESS_GAIN * snr / alone) if snr else shape  # of S/N 0: all zero

    def _add(self, series: NDArray[Any], shape: Series, middle: int) -> None:
        """Add a window to a series, as far as it lies in it."""
        first = middle - len(shape) // 2
        low, high = max(0, first), min(len(series), first + len(shape))
        series[low:high] += shape[low - first : high - first].astype(series.dtype)

    def signals(self) -> tuple[Series, dict[str, Any]]:
        """Return the strain of all signals and their table."""
        asked, rng = self.parameters, noise.generator(self.seed, "signals")
        series, n_signals = np.zeros(self.n_samples), asked.n_signals if asked.signal_snr else 0
        place = (np.arange(n_signals) + rng.uniform(0.4, 0.9, n_signals)) / max(1, n_signals)
        middles = np.round(place * self.n_samples).astype(int)
        distance_mpc = np.full(n_signals, np.nan)
        if n_signals:
            shape, distance_mpc[:] = self._inspiral()
            for middle in middles:
                self._add(series, shape, middle)
        return series, {
            "signal_time": ("signal", middles * self.step_s, _unit("s")),
            "signal_snr": ("signal", np.full(n_signals, float(asked.signal_snr)), _unit("1")),
            "signal_distance": ("signal", distance_mpc, _unit("Mpc")),
        }

    def _inspiral(self) -> tuple[Series, float]:
        """Return a signal that coalesces in the middle of its window, and its distance in Mpc."""
        asked = self.parameters
        masses = asked.mass_1_msun, asked.mass_2_msun
        longest_s = min(64.0, 0.3 * asked.duration_s)
        at_1_mpc = signals.waveform(*masses, asked.detector, self.rate_hz, longest_s=longest_s)
        snr = glitches.optimal_snr(at_1_mpc, asked.detector, self.rate_hz)
        return at_1_mpc * (asked.signal_snr / snr), snr / asked.signal_snr

    def record_unsafe(self, strain: Series) -> None:
        """Record the channels that contain strain, as the mirrors' correction does."""
        for n, name in enumerate(("CAL_NE_MIR_Z", "CAL_WE_MIR_Z")[: self.parameters.n_unsafe]):
            rng = noise.generator(self.seed, f"sensor {name}")
            asd = partial(noise_asd, detector=self.parameters.detector)
            own = 0.3 * noise.coloured(asd, self.n_samples, self.rate_hz, rng)
            self._keep(name, "1e-18", 1e18 * (np.roll(strain, 1 + n) + own))

    def faults(self) -> dict[str, Any]:
        """Return the table of what breaks, with its truth."""
        asked, whole_s, at = self.parameters, self.parameters.duration_s, self.fault_s
        rest_s = {name: whole_s - at_s for name, at_s in at.items()}
        late_s = rest_s["delay_jump_ms"] * (asked.delay_jump_ms > 0)
        flipped_s, stopped_s = (rest_s[n] * getattr(asked, n) for n in ("sign_flip", "line_stops"))
        rows = [
            ("missing, zeros", witnesses.GROUND.name, at["witness_gap_s"], asked.witness_gap_s),
            ("off, true zeros", witnesses.LENGTH.name, at["loop_open_s"], asked.loop_open_s),
            ("missing, not a number", witnesses.BEAM.name, at["missing_s"], asked.missing_s),
            ("late", witnesses.MAGNET.name, at["delay_jump_ms"], late_s),
            ("sign flipped", witnesses.LENGTH.name, at["sign_flip"], flipped_s),
            ("off, zeros", asked.witness_off, 0.0, whole_s * (asked.witness_off != "none")),
            ("line stopped", witnesses.LINE.name, at["line_stops"], stopped_s),
        ]
        real = [row for row in rows if row[3] > 0]
        starts = np.array([self._sample(row[2]) for row in real], dtype=float)
        stops = np.array([self._sample(row[2]) + self._sample(row[3]) for row in real], dtype=float)
        return {
            "fault_kind": ("fault", np.array([row[0] for row in real], dtype=str)),
            "fault_channel": ("fault", np.array([row[1] for row in real], dtype=str)),
            "fault_start": ("fault", starts * self.step_s, _unit("s")),
            "fault_stop": ("fault", stops * self.step_s, _unit("s")),
        }


def _fault_times(asked: VirgoParameters, seed: int) -> dict[str, float]:
    """Return when each fault comes, in s since the start, at a sample."""
    long_s, rate_hz = asked.duration_s, asked.sample_rate_hz
    if not asked.faults_drawn:
        return {name: at * long_s for name, at in _FAULT_AT.items()}
    rng, (first, last) = noise.generator(seed, "faults"), _DRAWN_AT
    lasts_s = {name: getattr(asked, name) for name in LASTING_FAULTS}
    drawn = {n: rng.uniform(first * long_s, last * long_s - lasts_s.get(n, 0.0)) for n in _FAULT_AT}
    return {name: round(at_s * rate_hz) / rate_hz for name, at_s in drawn.items()}


def _unit(units: str) -> dict[str, str]:
    return {"units": units}
