"""Parameters of the pulsar twin: the observation that is simulated, and the search."""

from collections.abc import Mapping
from functools import partial
from math import tau
from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field

# A parameter that panels fold away at first.
folded = partial(field, folded=True)


def check_order(parameters: Parameters, low: str, high: str, *, equal: bool = True) -> None:
    """Raise ValueError where the lower end of a range is above the higher one, or equals it."""
    ends = [getattr(parameters, name) for name in (low, high)]
    if ends[0] > ends[1] or (ends[0] == ends[1] and not equal):
        unit = parameters.describe()[low].unit
        first, last = (f"{end:g} {unit}".strip() for end in ends)
        must = "not be above" if equal else "be below"
        raise ValueError(f"{low} = {first} must {must} {high} = {last}")


def telescope_file(otherwise: str) -> Any:
    """Declare the file that is read, and what is done without one."""
    told = "A SIGPROC, PSRFITS or PSRDADA file; empty"
    return field("", input_file=True, help=f"{told} {otherwise}")


class MediumParameters(Parameters):
    """The ionised gas between the pulsar and us."""

    dm_pc_cm3: float = field(56.77, ge=0, le=3000, unit="pc cm-3", help="Dispersion measure")
    scattering_ms: float = field(
        0.0, ge=0, le=500, unit="ms", help="Scattering time at 1 GHz; falls with the frequency"
    )
    scattering_index: float = folded(
        4.0, ge=3, le=5, help="Its power of the frequency: 4 thin screen, 4.4 Kolmogorov"
    )
    scintillation_mhz: float = folded(
        0.0,
        ge=0,
        le=1e4,
        unit="MHz",
        help="Decorrelation bandwidth of scintillation at the band's centre; 0 for none",
    )
    scintillation_s: float = folded(
        300.0, ge=0.1, le=1e6, unit="s", help="Decorrelation time of scintillation"
    )
    dm_drift_pc_cm3_per_h: float = folded(
        0.0, ge=-10, le=10, unit="pc cm-3 h-1", help="Change of the dispersion measure"
    )
    distance_kpc: float = folded(
        0.0,
        ge=0,
        le=100,
        unit="kpc",
        help="Distance of the source; where it is given, the dispersion measure follows from it",
    )
    # The Crab pulsar at 2.0 kpc (Trimble 1973, PASP 85, 579) has 0.028.
    electron_density_cm3: float = folded(
        0.03,
        ge=1e-4,
        le=10,
        unit="cm-3",
        logarithmic=True,
        help="Mean density of electrons on the way: it joins distance and dispersion measure",
    )

    @model_validator(mode="after")
    def _distance_tells_the_dispersion(self) -> Self:
        if self.distance_kpc:
            dm_pc_cm3 = 1000 * self.distance_kpc * self.electron_density_cm3
            if dm_pc_cm3 > 3000:
                raise ValueError(
                    f"distance_kpc = {self.distance_kpc:g} kpc with electron_density_cm3 ="
                    f" {self.electron_density_cm3:g} cm-3 means a dispersion measure of {dm_pc_cm3:g}"
                    " pc cm-3: 3000 is the highest"
                )
            object.__setattr__(self, "dm_pc_cm3", dm_pc_cm3)  # frozen for all others
        return self

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some values changed; a new dispersion measure ends a distance."""
        if "dm_pc_cm3" in changes:
            changes = {"distance_kpc": 0.0} | changes
        return super().replace(**changes)


class SourceParameters(Parameters):
    """A pulsar: its beam, its rotation and orbit, and how its pulses differ from each other."""

    fluence_jy_ms: float = field(
        0.4, ge=0, le=1e4, unit="Jy ms", logarithmic=True, help="Median fluence of a pulse"
    )
    width_ms: float = field(
        0.8, ge=0.05, le=200, unit="ms", logarithmic=True, help="Intrinsic full width at half maximum"
    )
    period_s: float = folded(0.25, ge=0.001, le=30, unit="s", help="Rotation period of the pulsar")
    period_derivative: float = folded(0.0, ge=-1e-6, le=1e-6, unit="s s-1", help="Change of the period")
    energy_scatter: float = folded(
        0.5, ge=0, le=3, help="Standard deviation of the logarithm of pulse energies"
    )
    spectral_index: float = folded(
        0.0, ge=-6, le=6, help="Power of the frequency that the fluence follows"
    )
    cone_fraction: float = folded(
        0.0, ge=0, le=1, help="Part of the beam's power in its hollow cone, not its core"
    )
    cone_radius_deg: float = folded(
        2.0, ge=0.1, le=60, unit="deg", help="Opening angle of the cone around its axis"
    )
    inclination_deg: float = folded(
        60.0, ge=1, le=179, unit="deg", help="Magnetic axis against the rotation axis"
    )
    impact_deg: float = folded(
        0.5, ge=-45, le=45, unit="deg", help="Closest line of sight to the magnetic axis"
    )
    beam_index: float = folded(
        0.0, ge=0, le=1, help="How fast the beam narrows: as frequency to minus this"
    )
    jitter: float = folded(0.05, ge=0, le=5, help="Scatter of a pulse's place, in widths of the pulse")
    giant_fraction: float = folded(0.0, ge=0, le=1, help="Part of the pulses that are giant")
    giant_index: float = folded(
        2.0, ge=0.5, le=6, help="Number of giants above an energy: energy to minus this"
    )
    giant_least: float = folded(10.0, ge=1, le=1e4, help="Least energy of a giant, in median energies")
    nulling_fraction: float = folded(0.0, ge=0, le=0.95, help="Part of the rotations without a pulse")
    nulling_periods: float = folded(
        10.0, ge=1, le=1e5, help="Mean number of rotations that a null lasts"
    )
    mode_fraction: float = folded(
        0.0, ge=0, le=0.95, help="Part of the time in the other mode: core and cone swap"
    )
    mode_periods: float = folded(
        100.0, ge=1, le=1e6, help="Mean number of rotations that the other mode lasts"
    )
    mode_ratio: float = folded(
        0.5, ge=0.01, le=100, help="Energy in the other mode over that in the first"
    )
    orbit_axis_ls: float = folded(
        0.0, ge=0, le=1000, unit="ls", help="Projected semi-major axis; 0 for no companion"
    )
    orbit_period_h: float = folded(8.0, ge=0.1, le=1e5, unit="h", help="Orbital period")
    orbit_eccentricity: float = folded(0.0, ge=0, le=0.95, help="Of the orbit")
    periastron_deg: float = folded(
        0.0, ge=0, le=360, unit="deg", help="Longitude of periastron; there at the start"
    )

    @model_validator(mode="after")
    def _line_of_sight_is_one(self) -> Self:
        line_of_sight_deg = self.inclination_deg + self.impact_deg
        if not 0 < line_of_sight_deg < 180:
            raise ValueError(
                f"impact_deg = {self.impact_deg:g} deg with inclination_deg ="
                f" {self.inclination_deg:g} deg puts the line of sight at {line_of_sight_deg:g} deg"
                " from the rotation axis: it must lie between 0 and 180 deg"
            )
        return self

    @model_validator(mode="after")
    def _is_slower_than_light(self) -> Self:
        speed = tau * self.orbit_axis_ls / (3600 * self.orbit_period_h)
        if speed / (1 - self.orbit_eccentricity) ** 2 > 0.5:
            raise ValueError(
                f"orbit_axis_ls = {self.orbit_axis_ls:g} ls is too wide an orbit for"
                f" orbit_period_h = {self.orbit_period_h:g} h: faster than half the speed of light"
            )
        return self


class BandParameters(Parameters):
    """Which frequencies a telescope receives, and how it samples them; Effelsberg's at 21 cm."""

    centre_frequency_mhz: float = folded(1370.0, ge=50, le=30000, unit="MHz", help="Centre of the band")
    bandwidth_mhz: float = folded(320.0, ge=1, le=10000, unit="MHz", help="Width of the band")
    n_channels: int = folded(256, ge=8, le=8192, help="Frequency channels")
    sampling_time_us: float = folded(
        102.4, ge=1, le=1e5, unit="us", help="Time from one spectrum to the next"
    )

    @model_validator(mode="after")
    def _band_is_positive(self) -> Self:
        if self.bandwidth_mhz >= 2 * self.centre_frequency_mhz:
            raise ValueError(
                f"bandwidth_mhz = {self.bandwidth_mhz:g} MHz reaches below 0 MHz around"
                f" centre_frequency_mhz = {self.centre_frequency_mhz:g} MHz"
            )
        return self

    @property
    def delay_s_per_dm(self) -> float:
        """Delay between the outermost channels for a DM of 1 pc cm-3."""
        from physics_twins.pulsar.physics.ism import dispersion_delay  # imports scipy

        half_mhz = 0.5 * self.bandwidth_mhz * (1 - 1 / self.n_channels)
        low_mhz, high_mhz = (self.centre_frequency_mhz + side * half_mhz for side in (-1, 1))
        return float(dispersion_delay(low_mhz, 1.0, reference_mhz=high_mhz))


class ReceiverParameters(BandParameters):
    """The telescope: its noise, its band and its recorder."""

    system_temperature_k: float = folded(21.0, ge=1, le=1000, unit="K", help="System temperature")
    gain_k_per_jy: float = folded(1.5, ge=0.01, le=100, unit="K Jy-1", help="Gain of the telescope")
    background_jy: float = folded(
        0.0,
        ge=0,
        le=1e5,
        unit="Jy",
        help="Steady sources in the beam beside the pulsar, such as the nebula around it",
    )
    zenith_opacity: float = folded(
        0.0, ge=0, le=3, help="Optical depth of the atmosphere towards the zenith"
    )
    elevation_deg: float = folded(
        45.0, ge=5, le=90, unit="deg", help="Height of the source over the horizon"
    )
    bandpass_ripple: float = folded(0.1, ge=0, le=0.9, help="Relative depth of the bandpass ripple")
    n_notches: int = folded(
        0, ge=0, le=20, help="Filters against known transmitters, 2 % of the band each"
    )
    gain_drift: float = folded(
        0.001, ge=0, le=0.2, logarithmic=True, help="Relative standard deviation of the gain's drift"
    )
    gain_drift_s: float = folded(
        60.0, ge=0.01, le=1e5, unit="s", help="Time over which the gain drifts"
    )
    baseline_jy: float = folded(
        0.003, ge=0, le=100, unit="Jy", help="Standard deviation of the 1/f baseline"
    )
    channel_correlation: float = folded(
        0.0, ge=0, le=0.5, help="Correlation of the noise in neighbouring channels"
    )
    duration_s: float = folded(4.0, ge=0.05, le=600, unit="s", help="Length")
    n_bits: Literal[1, 2, 4, 8, 16, 32] = folded(
        8, help="Bits per sample; 32 stores floating-point numbers"
    )


def _rate(default: float, what: str) -> float:
    """Declare how often a kind of interference begins."""
    return folded(default, ge=0, le=100, unit="Hz", help=f"{what} per second")


class InterferenceParameters(Parameters):
    """What comes from Earth, and what is lost: a rate for each kind, 0 for none."""

    carrier_jy: float = field(
        3.0, ge=0, le=1e3, unit="Jy", help="Flux density of narrow-band transmitters"
    )
    impulse_jy: float = field(2.0, ge=0, le=1e3, unit="Jy", help="Flux density of broad-band impulses")
    carrier_rate_hz: float = _rate(2.0, "Narrow-band bursts that begin")
    persistent_carriers: int = folded(0, ge=0, le=1000, help="Narrow-band transmitters that never stop")
    hopping_rate_hz: float = _rate(0.0, "Mobile devices that begin to send, hopping in frequency,")
    satellite_rate_hz: float = _rate(0.0, "Satellites that enter the beam")
    radar_rate_hz: float = _rate(0.0, "Sweeps of a radar's antenna over the telescope")
    beacon_rate_hz: float = _rate(0.0, "Aircraft beacons that begin to send")
    impulse_rate_hz: float = _rate(2.0, "Broad-band impulses")
    lightning_rate_hz: float = _rate(0.0, "Lightning flashes")
    mains_rate_hz: float = _rate(0.0, "Trains of sparks at the rate of the mains")
    peryton_rate_hz: float = _rate(0.0, "Swept bursts from Earth")
    dropout_rate_hz: float = _rate(0.0, "Losses of data packets")


class ObservationParameters(
    InterferenceParameters, ReceiverParameters, SourceParameters, MediumParameters
):
    """A pulsar seen by a telescope, with interference; the defaults are like Effelsberg at 21 cm."""


# Changes of the defaults that switch on every component of the simulation.
ALL_PHYSICS: Mapping[str, Any] = {
    "scattering_ms": 0.3,
    "scattering_index": 4.4,
    "scintillation_mhz": 40.0,
    "dm_drift_pc_cm3_per_h": 0.01,
    "period_derivative": 4.2e-13,
    "spectral_index": -1.6,
    "cone_fraction": 0.4,
    "beam_index": 0.15,
    "giant_fraction": 0.02,
    "nulling_fraction": 0.2,
    "mode_fraction": 0.2,
    "orbit_axis_ls": 2.3,
    "orbit_eccentricity": 0.6,
    "background_jy": 5.0,
    "zenith_opacity": 0.01,
    "n_notches": 1,
    "gain_drift": 0.005,
    "gain_drift_s": 10.0,
    "baseline_jy": 0.01,
    "channel_correlation": 0.05,
    "persistent_carriers": 2,
    "hopping_rate_hz": 0.5,
    "satellite_rate_hz": 0.1,
    "radar_rate_hz": 0.5,
    "beacon_rate_hz": 0.5,
    "lightning_rate_hz": 0.1,
    "mains_rate_hz": 0.1,
    "peryton_rate_hz": 0.05,
    "dropout_rate_hz": 0.2,
}


class SearchParameters(Parameters):
    """A blind search for dispersed pulses."""

    filterbank_path: str = telescope_file("searches a simulated observation")
    dm_min_pc_cm3: float = field(5.0, ge=0, le=3000, unit="pc cm-3", help="Lowest DM searched")
    dm_max_pc_cm3: float = field(100.0, ge=0, le=3000, unit="pc cm-3", help="Highest DM searched")
    snr_min: float = field(6.5, ge=5, le=100, help="Lowest signal-to-noise ratio of a candidate")
    width_max_ms: float = field(
        30.0, ge=0.1, le=1000, unit="ms", help="Full width at half maximum of the widest pulse searched"
    )
    dm_loss: float = folded(0.03, ge=0.001, le=0.5, help="Largest loss of S/N between two DM trials")
    frame_spectra: int = folded(256, ge=64, le=65536, help="Spectra in a frame that gets a label")
    block_s: float = folded(
        4.0, ge=0.1, le=600, unit="s", help="Longest part cleaned and searched at once"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        check_order(self, "dm_min_pc_cm3", "dm_max_pc_cm3", equal=False)
        return self
