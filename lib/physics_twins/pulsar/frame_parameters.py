"""Parameters of one frame as the empirical generator draws it; the defaults are like Effelsberg."""

from typing import Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class FrameParameters(Parameters):
    """A picture of time against frequency with any of a pulse and two kinds of interference."""

    label: Literal[
        "none",
        "pulse",
        "nbrfi",
        "bbrfi",
        "pulse+nbrfi",
        "pulse+bbrfi",
        "nbrfi+bbrfi",
        "pulse+nbrfi+bbrfi",
    ] = field("pulse", help="Class: which components the frame holds")
    dm_pc_cm3: float = field(
        56.7, ge=0, le=3000, unit="pc cm-3", help="Dispersion measure of the pulse"
    )
    pulse_width_ms: float = field(
        0.482, ge=0.001, le=200, unit="ms", logarithmic=True, help="Full width at half maximum"
    )
    pulse_position: float = field(
        0.1, ge=-100, le=100, help="Where the pulse enters at the highest frequency, in frame lengths"
    )
    pulse_amplitude: float = field(
        1.0, ge=0, le=1e4, logarithmic=True, help="Height of the pulse in a channel; see pulse_snr"
    )
    pulse_snr: float = field(
        0.0, ge=0, le=1e5, help="S/N of the whole sweep; above 0 it sets pulse_amplitude"
    )
    noise_amplitude: float = field(
        1.0, ge=0, le=1e4, logarithmic=True, help="Standard deviation of the noise in one sample"
    )
    nbrfi_amplitude: float = field(
        1.0, ge=0, le=1e4, logarithmic=True, help="Height of narrow-band interference"
    )
    nbrfi_size: float = field(
        0.02, ge=0.001, le=1, help="Width of narrow-band interference, in parts of the band"
    )
    nbrfi_position: float = field(
        0.5, ge=0, le=1, help="Its centre in the band, 0 at the highest frequency"
    )
    bbrfi_amplitude: float = field(
        1.0, ge=0, le=1e4, logarithmic=True, help="Height of broad-band interference"
    )
    bbrfi_size: float = field(
        0.02, ge=0.001, le=1, help="Length of broad-band interference, in parts of the frame"
    )
    bbrfi_position: float = field(0.5, ge=0, le=1, help="Its centre in the frame, 0 at the beginning")
    rfi_shape: Literal["gaussian", "box"] = field(
        "gaussian", folded=True, help="Profile of interference; a Gaussian's size is its full width"
    )
    n_time: int = field(256, ge=8, le=65536, folded=True, help="Spectra in the frame")
    n_channels: int = field(256, ge=8, le=8192, folded=True, help="Frequency channels")
    f_hi_mhz: float = field(
        1530.0, ge=10, le=50000, unit="MHz", folded=True, help="Upper edge of the band"
    )
    f_lo_mhz: float = field(
        1210.0, ge=10, le=50000, unit="MHz", folded=True, help="Lower edge of the band"
    )
    sampling_time_us: float = field(
        102.4, ge=1, le=1e6, unit="us", folded=True, help="Time from one spectrum to the next"
    )
    values: Literal["float32", "uint8"] = field(
        "float32", folded=True, help="uint8 stretches the frame over 0 to 255"
    )
    mixing: Literal["signals", "images"] = field(
        "signals",
        folded=True,
        help="Mixtures add signals below one noise or, as PulsarRFI_Gen, rescaled noisy images",
    )

    @model_validator(mode="after")
    def _band_is_ordered(self) -> Self:
        if self.f_lo_mhz >= self.f_hi_mhz:
            raise ValueError(
                f"f_lo_mhz = {self.f_lo_mhz:g} MHz must be below f_hi_mhz = {self.f_hi_mhz:g} MHz"
            )
        if self.pulse_snr > 0 and self.noise_amplitude == 0:
            raise ValueError("pulse_snr needs noise: noise_amplitude is 0")
        return self
