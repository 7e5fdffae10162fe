"""Parameters of the pulsar twin: the observation that is simulated, and the search."""

from typing import Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class ObservationParameters(Parameters):
    """A pulsar seen by a telescope, with interference; the defaults are like Effelsberg at 21 cm."""

    dm_pc_cm3: float = field(56.77, ge=0, le=3000, unit="pc cm-3", help="Dispersion measure")
    fluence_jy_ms: float = field(
        0.4, ge=0, le=1e4, unit="Jy ms", logarithmic=True, help="Median fluence of a pulse"
    )
    width_ms: float = field(
        0.8, ge=0.05, le=200, unit="ms", logarithmic=True, help="Intrinsic full width at half maximum"
    )
    scattering_ms: float = field(
        0.0, ge=0, le=500, unit="ms", help="Scattering time at 1 GHz; falls as frequency^-4"
    )
    carrier_jy: float = field(
        3.0, ge=0, le=1e3, unit="Jy", help="Flux density of narrow-band transmitters"
    )
    impulse_jy: float = field(2.0, ge=0, le=1e3, unit="Jy", help="Flux density of broad-band impulses")
    period_s: float = field(
        0.25, ge=0.001, le=30, unit="s", folded=True, help="Rotation period of the pulsar"
    )
    energy_scatter: float = field(
        0.5, ge=0, le=3, folded=True, help="Standard deviation of the logarithm of pulse energies"
    )
    carrier_rate_hz: float = field(
        2.0, ge=0, le=100, unit="Hz", folded=True, help="Narrow-band bursts that begin per second"
    )
    impulse_rate_hz: float = field(
        2.0, ge=0, le=100, unit="Hz", folded=True, help="Broad-band impulses per second"
    )
    system_temperature_k: float = field(
        21.0, ge=1, le=1000, unit="K", folded=True, help="System temperature"
    )
    gain_k_per_jy: float = field(
        1.5, ge=0.01, le=100, unit="K Jy-1", folded=True, help="Gain of the telescope"
    )
    bandpass_ripple: float = field(
        0.1, ge=0, le=0.9, folded=True, help="Relative depth of the bandpass ripple"
    )
    centre_frequency_mhz: float = field(
        1370.0, ge=50, le=30000, unit="MHz", folded=True, help="Centre of the band"
    )
    bandwidth_mhz: float = field(
        320.0, ge=1, le=10000, unit="MHz", folded=True, help="Width of the band"
    )
    n_channels: int = field(256, ge=8, le=8192, folded=True, help="Frequency channels")
    sampling_time_us: float = field(
        102.4, ge=1, le=1e5, unit="us", folded=True, help="Time from one spectrum to the next"
    )
    duration_s: float = field(4.0, ge=0.05, le=600, unit="s", folded=True, help="Length")
    n_bits: Literal[1, 2, 4, 8, 16, 32] = field(
        8, folded=True, help="Bits per sample; 32 stores floating-point numbers"
    )

    @model_validator(mode="after")
    def _band_is_positive(self) -> Self:
        if self.bandwidth_mhz >= 2 * self.centre_frequency_mhz:
            raise ValueError(
                f"bandwidth_mhz = {self.bandwidth_mhz:g} MHz reaches below 0 MHz around"
                f" centre_frequency_mhz = {self.centre_frequency_mhz:g} MHz"
            )
        return self


class SearchParameters(Parameters):
    """A blind search for dispersed pulses."""

    filterbank_path: str = field(
        "",
        input_file=True,
        help="A SIGPROC, PSRFITS or PSRDADA file; empty searches a simulated observation",
    )
    dm_min_pc_cm3: float = field(5.0, ge=0, le=3000, unit="pc cm-3", help="Lowest DM searched")
    dm_max_pc_cm3: float = field(100.0, ge=0, le=3000, unit="pc cm-3", help="Highest DM searched")
    snr_min: float = field(6.5, ge=5, le=100, help="Lowest signal-to-noise ratio of a candidate")
    width_max_ms: float = field(30.0, ge=0.1, le=1000, unit="ms", help="Widest boxcar the search tries")
    dm_loss: float = field(
        0.03, ge=0.001, le=0.5, folded=True, help="Largest loss of S/N between two DM trials"
    )
    frame_spectra: int = field(
        256, ge=16, le=65536, folded=True, help="Spectra in a frame that gets a label"
    )
    block_s: float = field(
        4.0, ge=0.1, le=600, unit="s", folded=True, help="Longest part cleaned and searched at once"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.dm_min_pc_cm3 >= self.dm_max_pc_cm3:
            raise ValueError(
                f"dm_min_pc_cm3 = {self.dm_min_pc_cm3:g} pc cm-3 must be below"
                f" dm_max_pc_cm3 = {self.dm_max_pc_cm3:g} pc cm-3"
            )
        return self
