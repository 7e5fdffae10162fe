"""Parameters of labelled streams: what their frames hold, how strong, and how often."""

from typing import Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field


class WindowParameters(Parameters):
    """A stream cut into windows, the first frame of each with a label; the band is Effelsberg's."""

    n_windows: int = field(16, ge=1, le=10**6, help="Windows in the stream")
    window_frames: int = field(
        4, ge=1, le=64, unit="frames", help="Frames in a window; 1 gives every frame a label"
    )
    balanced: bool = field(
        False, help="Whether the eight classes come equally often, instead of by the fractions below"
    )
    pulse_fraction: float = field(0.5, ge=0, le=1, help="Labelled frames with a pulse")
    nbrfi_fraction: float = field(0.0, ge=0, le=1, help="Labelled frames with narrow-band interference")
    bbrfi_fraction: float = field(0.0, ge=0, le=1, help="Labelled frames with broad-band interference")
    other_fraction: float = field(
        0.0, ge=0, le=1, help="Labelled frames with something else: perytons, lost packets, gain jumps"
    )
    nbrfi_outside: float = field(
        0.0, ge=0, le=1, help="Frames without a label that hold narrow-band interference"
    )
    bbrfi_outside: float = field(
        0.0, ge=0, le=1, help="Frames without a label that hold broad-band interference"
    )
    snr_min: float = field(8.0, ge=0.1, le=1e4, help="Lowest S/N of a pulse's whole sweep")
    snr_max: float = field(30.0, ge=0.1, le=1e4, help="Highest S/N of a pulse's whole sweep")
    rfi_snr_min: float = field(8.0, ge=0.1, le=1e4, help="Lowest S/N of interference within a frame")
    rfi_snr_max: float = field(100.0, ge=0.1, le=1e4, help="Highest S/N of interference within a frame")
    dm_min_pc_cm3: float = field(40.0, ge=0, le=75, unit="pc cm-3", help="Lowest dispersion measure")
    dm_max_pc_cm3: float = field(72.0, ge=0, le=75, unit="pc cm-3", help="Highest dispersion measure")
    width_min_ms: float = field(
        0.3, ge=0.05, le=20, unit="ms", help="Narrowest full width at half maximum of a pulse"
    )
    width_max_ms: float = field(
        3.0, ge=0.05, le=20, unit="ms", help="Widest full width at half maximum of a pulse"
    )
    pulse_kind: Literal["plain", "physical"] = field(
        "physical", help="Physical pulses are smeared, scattered and scintillate; plain ones are flat"
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        for low, high in (
            ("snr_min", "snr_max"),
            ("rfi_snr_min", "rfi_snr_max"),
            ("dm_min_pc_cm3", "dm_max_pc_cm3"),
            ("width_min_ms", "width_max_ms"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} = {getattr(self, low):g} must not be above {high} = {getattr(self, high):g}"
                )
        return self


# W-CLS: a Gaussian pulse with a sigma of 2 samples, flat over the band, in white noise.
_SIGMA_2_SAMPLES_MS = 2 * 2.3548200450309493 * 0.1024
W_CLS = WindowParameters(
    pulse_kind="plain",
    dm_min_pc_cm3=56.7,
    dm_max_pc_cm3=56.7,
    width_min_ms=_SIGMA_2_SAMPLES_MS,
    width_max_ms=_SIGMA_2_SAMPLES_MS,
    pulse_fraction=1.0,
)
# Interference as often as in the Effelsberg Crab data (D7.2, figure 6), and in half of all frames.
EFFELSBERG_MIX = {
    "nbrfi_fraction": 0.047,
    "nbrfi_outside": 0.047,
    "bbrfi_fraction": 0.004,
    "bbrfi_outside": 0.004,
}
HARSH_MIX = dict.fromkeys(EFFELSBERG_MIX, 0.3)
EIGHT_CLASSES = WindowParameters(balanced=True, nbrfi_outside=0.25, bbrfi_outside=0.25)
