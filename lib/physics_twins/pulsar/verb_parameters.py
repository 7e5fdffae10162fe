"""Parameters of what is done with observations: labels, the twin, look-alikes, training."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field
from physics_twins.pulsar.parameters import BandParameters, check_order, folded, telescope_file

if TYPE_CHECKING:
    from physics_twins.pulsar.physics.ism import Band

FRAME_STEP = 16  # spectra that level and noise are measured over together
# A pulse that crosses the band in less than so many of its widths is not told from interference.
LEAST_SWEEP_WIDTHS = 2.5
# A pulse is not sought beyond the DM at which it takes so long.
LONGEST_SWEEP_S = 10.0
HIGHEST_DM_PC_CM3 = 3000.0
DM_RANGE = ("dm_min_pc_cm3", "dm_max_pc_cm3")


class SoughtParameters(Parameters):
    """The range of DM in which pulses are sought."""

    dm_min_pc_cm3: float = field(40.0, ge=0, le=3000, unit="pc cm-3", help="Lowest DM sought")
    dm_max_pc_cm3: float = field(72.0, ge=0, le=3000, unit="pc cm-3", help="Highest DM sought")

    @model_validator(mode="after")
    def _dms_are_ordered(self) -> Self:
        check_order(self, "dm_min_pc_cm3", "dm_max_pc_cm3", equal=False)
        return self


class LabelParameters(SoughtParameters):
    """What is sought in a stream of spectra, and how it is cut into frames."""

    width_min_ms: float = field(
        0.3,
        ge=0.001,
        le=200,
        unit="ms",
        help="Full width at half maximum of the narrowest pulse sought",
    )
    width_max_ms: float = field(
        5.0, ge=0.001, le=1000, unit="ms", help="Full width at half maximum of the widest pulse sought"
    )
    dm_loss: float = folded(0.05, ge=0.001, le=0.5, help="Largest loss of S/N between two DM trials")
    frame_spectra: int = folded(256, ge=64, le=65536, help="Spectra in a frame that gets a label")
    block_frames: int = folded(
        128, ge=4, le=4096, help="Frames whose level and noise are measured together"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        check_order(self, "width_min_ms", "width_max_ms")
        if self.frame_spectra % FRAME_STEP:
            raise ValueError(f"frame_spectra = {self.frame_spectra} must be a multiple of {FRAME_STEP}")
        return self


def sought_by(search: Mapping[str, Any] | Parameters) -> LabelParameters:
    """Return what a labelling seeks that goes with a search: its DMs, widths and frames.

    Args:
        search: `SearchParameters`, or values by name among which are those.

    Raises:
        ParameterError: A labelling cannot seek that.
    """
    values = search.to_papermill() if isinstance(search, Parameters) else dict(search)
    narrowest = LabelParameters.describe()["width_min_ms"].default
    widest = values.get("width_max_ms", narrowest)
    return LabelParameters.take({"width_min_ms": min(narrowest, widest), **values})


def sought_in_band(values: Mapping[str, Any], band: "Band") -> LabelParameters:
    """Return what is sought where no DM is named: all that a band tells from interference.

    Args:
        values: Parameters by name; an end of the DM range that is missing is taken from the band.
        band: The receiver.

    Raises:
        ParameterError: A value is refused, or no DM is left.
    """
    narrowest_ms = values.get("width_min_ms", LabelParameters.describe()["width_min_ms"].default)
    narrowest_s = max(1e-3 * narrowest_ms, band.sampling_s)
    lowest = LEAST_SWEEP_WIDTHS * narrowest_s / band.delay_s_per_dm
    highest = min(HIGHEST_DM_PC_CM3, LONGEST_SWEEP_S / band.delay_s_per_dm)
    lowest = min(float(f"{lowest:.2g}"), 0.5 * highest)
    ends: dict[str, Any] = dict(zip(DM_RANGE, (lowest, float(f"{highest:.3g}")), strict=True))
    return LabelParameters(**(ends | dict(values)))


class KeepParameters(Parameters):
    """Which pieces of a stream are kept, and what raises an alert."""

    keep_probability: float = field(
        0.0,
        ge=0,
        le=1,
        help="A frame is kept where a pulse is at least so probable; 0 takes the classifier's own",
    )
    keep_other: bool = field(
        True, help="Whether frames that are nothing known are kept and raise an alert"
    )
    margin_ms: float = field(
        6.0, ge=0, le=10_000, unit="ms", help="What is kept before a pulse and after its sweep"
    )
    alert_snr: float = field(20.0, ge=1, le=1e6, help="S/N from which a pulse raises an alert")


class TwinParameters(Parameters):
    """What the twin is calibrated on, and what changes while it watches."""

    observed_path: str = telescope_file("calibrates on a simulated observation")
    scattering_change_ms: float = field(
        0.5, ge=0.01, le=100, unit="ms", help="Change of the scattering time at 1 GHz to be found"
    )


class TelescopeParameters(Parameters):
    """A recording whose telescope is imitated, and the observations that are made like it."""

    recording_path: str = telescope_file("matches a simulated recording")
    lookalike_name: str = field(
        "night.fil", help="Name of the look-alike that is kept in the run: .fil or, for PSRFITS, .sf"
    )
    lookalike_s: float = field(
        1.0, ge=0.01, le=1e6, unit="s", help="Length of the look-alike that is kept"
    )
    n_injected: int = field(3, ge=0, le=1000, help="Pulses that are put into a copy of it")
    sefd_jy: float = field(
        14.0, ge=1e-3, le=1e6, unit="Jy", help="The telescope's system temperature over its gain"
    )

    @model_validator(mode="after")
    def _name_is_a_telescope_file(self) -> Self:
        if not re.fullmatch(r"[\w.+-]+\.(fil|sf)", self.lookalike_name):
            raise ValueError(
                f"lookalike_name = {self.lookalike_name!r}: expected a file name without folder that"
                " ends in .fil or .sf"
            )
        return self


class WindowParameters(BandParameters):
    """A stream cut into windows, the first frame of each with a label."""

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
    peryton_fraction: float = field(
        0.0, ge=0, le=1, help="Frames, labelled or not, with a swept signal from Earth"
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
    clear_only: bool = field(
        True, help="Leave out frames with interference of S/N 1 to 8, which has a label from 8 on"
    )
    dm_min_pc_cm3: float = field(40.0, ge=0, le=3000, unit="pc cm-3", help="Lowest dispersion measure")
    dm_max_pc_cm3: float = field(72.0, ge=0, le=3000, unit="pc cm-3", help="Highest dispersion measure")
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
            check_order(self, low, high)
        return self

    @model_validator(mode="after")
    def _sweep_is_short_enough(self) -> Self:
        sweep_s = self.dm_max_pc_cm3 * self.delay_s_per_dm
        if sweep_s > LONGEST_SWEEP_S:
            raise ValueError(
                f"dm_max_pc_cm3 = {self.dm_max_pc_cm3:g} pc cm-3 takes {sweep_s:.3g} s to cross the"
                f" band around centre_frequency_mhz = {self.centre_frequency_mhz:g} MHz: it must be at"
                f" most {LONGEST_SWEEP_S:g} s"
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
EIGHT_CLASSES = WindowParameters(balanced=True, nbrfi_outside=0.25, bbrfi_outside=0.25)


class ClassifierParameters(SoughtParameters, BandParameters):
    """What a classifier is for, and how much it learns."""

    n_noise_streams: int = field(
        160, ge=1, le=10**6, help="Streams of 128 frames of white noise, which set the false alarms"
    )
    n_faint_streams: int = field(
        120, ge=1, le=10**6, help="Streams of 64 windows with faint pulses in white noise"
    )
    n_class_streams: int = field(
        640, ge=1, le=10**6, help="Streams of 43 windows in which all classes come equally often"
    )
    n_mixed_streams: int = field(
        320, ge=1, le=10**6, help="Streams of 64 windows with faint pulses between interference"
    )
    labelled_path: str = field(
        "",
        input_file=True,
        help="Table (CSV: file, start_s, label) of real frames that are learnt from besides; empty for"
        " none. Every fifth validates",
    )
    n_steps: int = field(4000, ge=1, le=10**8, unit="steps", help="Steps of the training")
    batch_size: int = field(256, ge=2, le=10**6, help="Frames in a step")
    learning_rate: float = field(4e-3, ge=1e-6, le=1, logarithmic=True, help="Highest learning rate")

    @model_validator(mode="after")
    def _pulses_can_be_told(self) -> Self:
        sweep_ms = 1e3 * self.dm_min_pc_cm3 * self.delay_s_per_dm
        least_ms = LEAST_SWEEP_WIDTHS * max(self.sought.width_min_ms, 1e-3 * self.sampling_time_us)
        if sweep_ms < least_ms:
            raise ValueError(
                f"dm_min_pc_cm3 = {self.dm_min_pc_cm3:g} pc cm-3 crosses the band in {sweep_ms:.3g} ms:"
                f" pulses are told from interference where it takes {least_ms:.3g} ms or more"
            )
        _ = self.parts  # each is checked
        return self

    @property
    def sought(self) -> LabelParameters:
        """What the front end seeks."""
        return LabelParameters(**{name: getattr(self, name) for name in DM_RANGE})

    @property
    def n_streams(self) -> list[int]:
        """Streams of each of `parts`."""
        return [
            self.n_noise_streams,
            self.n_faint_streams,
            self.n_class_streams,
            self.n_mixed_streams,
        ]

    @property
    def parts(self) -> list[WindowParameters]:
        """What the streams of each kind hold, in this band and range of DM."""
        own = {name: getattr(self, name) for name in (*BandParameters.model_fields, *DM_RANGE)}
        return [part.replace(**own) for part in PARTS]


# What the streams of each kind hold at Effelsberg, in the order of the numbers above.
NOISE = W_CLS.replace(n_windows=128, window_frames=1, pulse_fraction=0.0)
FAINT = WindowParameters(n_windows=64, window_frames=2, pulse_fraction=0.8, snr_min=4.5, snr_max=12.0)
CLASSES_EQUAL = WindowParameters(
    n_windows=43,
    window_frames=3,
    balanced=True,
    nbrfi_outside=0.25,
    bbrfi_outside=0.25,
    other_fraction=0.1,
    snr_min=7.0,
    snr_max=100.0,
    rfi_snr_min=1.0,
    clear_only=False,
)
MIXED = WindowParameters(
    n_windows=64,
    window_frames=2,
    pulse_fraction=0.5,
    snr_min=4.5,
    snr_max=20.0,
    nbrfi_fraction=0.25,
    bbrfi_fraction=0.25,
    nbrfi_outside=0.25,
    bbrfi_outside=0.25,
    other_fraction=0.02,
    peryton_fraction=0.1,
    rfi_snr_min=2.0,
    rfi_snr_max=200.0,
    clear_only=False,
)
PARTS = (NOISE, FAINT, CLASSES_EQUAL, MIXED)


class EvaluationParameters(Parameters):
    """How much the classifier is tested with; errors fall as the root of it."""

    model: str = field("pulsar-classifier", help="Name, or name and version, of the classifier")
    n_streams: int = field(
        20, ge=1, le=10**6, help="Streams of 32 windows for each S/N, and for the eight classes"
    )
    n_noise_streams: int = field(
        40, ge=1, le=10**6, help="Streams of 128 frames without a pulse that set the threshold"
    )
    false_alarms: float = field(
        0.01, ge=1e-5, le=0.5, logarithmic=True, help="Part of such frames that may be called a pulse"
    )
