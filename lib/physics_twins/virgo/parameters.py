"""Parameters of the Virgo twin: detector, couplings, faults, glitches and signals."""

from typing import Any, Literal, Self

from pydantic import model_validator

from physics_twins.parameters import Parameters, field

WitnessOff = Literal[
    "none", "ENV_SEIS_N", "ASC_DIFF_TX", "LSC_MICH", "ENV_MAG_N", "ENV_MAINS", "LSC_LINE", "INJ_BPC_TX",
    "SIB2_POS_X", "ENV_MIC_CEB",
]  # fmt: skip
LASTING_FAULTS = ("witness_gap_s", "loop_open_s", "missing_s")  # at most a quarter of a stretch
GLITCH_FAMILIES = ("blip", "tomte", "koi_fish", "whistle", "scattered_light")


class DetectorParameters(Parameters):
    """The interferometer without what is witnessed, and how long it is watched."""

    detector: Literal["virgo_o3", "virgo_o4", "virgo_design", "einstein_telescope"] = field(
        "virgo_o4", help="Whose sensitivity the noise has"
    )
    duration_s: float = field(64.0, ge=4, le=4096, unit="s", help="Length of the stretch")
    sample_rate_hz: Literal[1024, 2048, 4096, 8192, 16384] = field(
        2048, unit="Hz", folded=True, help="Of the strain and of all channels"
    )


class CouplingParameters(Parameters):
    """How strongly each disturbance reaches the strain: its spectrum over the noise at its peak."""

    seismic: float = field(5.0, ge=0, le=1000, logarithmic=True, help="Ground motion, 10 to 35 Hz")
    angular: float = field(5.0, ge=0, le=1000, folded=True, help="Angular control, about 15 to 60 Hz")
    length: float = field(3.0, ge=0, le=1000, folded=True, help="Length control, about 20 to 150 Hz")
    magnetic: float = field(2.0, ge=0, le=1000, folded=True, help="Magnetic fields, about 40 to 300 Hz")
    mains: float = field(20.0, ge=0, le=1e4, folded=True, help="Mains lines, rms over noise in 1 Hz")
    line: float = field(20.0, ge=0, le=1e4, folded=True, help="A line at 37 Hz, in the same measure")
    sidebands: float = field(
        5.0, ge=0, le=1000, logarithmic=True, help="Angle times mains, beside 50 Hz"
    )
    fringe: float = field(5.0, ge=0, le=1000, logarithmic=True, help="Light scattered from a bench")
    jitter: float = field(3.0, ge=0, le=1000, logarithmic=True, help="Beam jitter times misalignment")
    unknown: float = field(0.0, ge=0, le=1000, folded=True, help="Sound squared, which is not linear")
    fringe_calibration: float = field(
        1.013, ge=0.9, le=1.1, folded=True, help="True over recorded motion of the scattering bench"
    )


class FaultParameters(Parameters):
    """What breaks real systems, all off by default, and channels that are no witness."""

    coupling_drift: float = field(0.0, ge=0, le=1, folded=True, help="Slow change of linear couplings")
    sign_flip: bool = field(False, folded=True, help="Whether the length coupling changes its sign")
    delay_jump_ms: float = field(
        0.0, ge=0, le=100, unit="ms", folded=True, help="Late by this, the magnetometer at some time"
    )
    witness_gap_s: float = field(
        0.0, ge=0, le=600, unit="s", folded=True, help="Ground motion not recorded: zeros instead"
    )
    loop_open_s: float = field(
        0.0, ge=0, le=600, unit="s", folded=True, help="Length control really off: zeros that are true"
    )
    missing_s: float = field(0.0, ge=0, le=600, unit="s", folded=True, help="Beam jitter missing: NaN")
    line_stops: bool = field(False, folded=True, help="Whether the line stops, its witness goes on")
    witness_off: WitnessOff = field(
        "none", folded=True, help="A witness that is off: zeros, while what it watches goes on"
    )
    faults_drawn: bool = field(False, folded=True, help="Whether the seed draws when faults come")
    n_idle: int = field(4, ge=0, le=200, folded=True, help="Channels that witness nothing")
    n_unsafe: int = field(0, ge=0, le=2, folded=True, help="Channels that contain strain")
    n_counters: int = field(0, ge=0, le=8, folded=True, help="Channels that count packets")
    n_dead: int = field(0, ge=0, le=8, folded=True, help="Channels of zeros")


class TransientParameters(Parameters):
    """Glitches and signals of compact binaries."""

    glitch_rate_hz: float = field(0.05, ge=0, le=2, unit="Hz", help="Glitches in a second, on average")
    glitch_family: Literal["all", "blip", "tomte", "koi_fish", "whistle", "scattered_light"] = field(
        "all", help="Which glitches occur"
    )
    glitch_snr: float = field(15.0, ge=0, le=1000, help="Median S/N of glitches in detector noise")
    witnessed_fraction: float = field(0.5, ge=0, le=1, folded=True, help="Part of glitches witnessed")
    n_signals: int = field(1, ge=0, le=1000, folded=True, help="Signals in the stretch, evenly spread")
    signal_snr: float = field(15.0, ge=0, le=1000, help="Ideal S/N of each signal")
    mass_1_msun: float = field(1.6, ge=0.5, le=100, unit="Msun", folded=True, help="In detector frame")
    mass_2_msun: float = field(1.3, ge=0.5, le=100, unit="Msun", folded=True, help="In detector frame")


class VirgoParameters(DetectorParameters, CouplingParameters, FaultParameters, TransientParameters):
    """A stretch of strain with its witnesses."""

    @model_validator(mode="after")
    def _faults_fit_into_the_stretch(self) -> Self:
        for name in LASTING_FAULTS:
            if getattr(self, name) > 0.25 * self.duration_s:
                raise ValueError(
                    f"{name} = {getattr(self, name):g} s must be at most a quarter of"
                    f" duration_s = {self.duration_s:g} s"
                )
        return self


class CleaningParameters(Parameters):
    """The subtraction: what it learns from, when it trusts a witness, and what its stream does."""

    train_fraction: float = field(
        0.75, ge=0.1, le=1, folded=True, help="Part of the stretch, its first, that filters learn from"
    )
    filter_s: float = field(
        2.0, ge=0.5, le=32, unit="s", folded=True, help="Length of filters, and of parts they come from"
    )
    gate: float = field(10.0, ge=0, le=1000, help="Coherence, over chance, to let a witness in; 0: all")
    false_discovery_rate: float = field(
        0.05, ge=1e-6, le=0.5, folded=True, help="Part of the chosen channels that are false, at most"
    )
    model: str = field(
        "virgo-filters", folded=True, help="What tells a stream's filters; empty: as they were fitted"
    )
    held_start_s: float = field(
        0.0, ge=0, le=1e6, unit="s", folded=True, help="From here on a stream learns nothing"
    )
    held_stop_s: float = field(
        0.0, ge=0, le=1e6, unit="s", folded=True, help="Until here; both 0: it learns from all seconds"
    )

    @model_validator(mode="after")
    def _what_is_held_ends_after_it_begins(self) -> Self:
        if self.held_stop_s <= self.held_start_s and (self.held_start_s or self.held_stop_s):
            raise ValueError(
                f"held_stop_s = {self.held_stop_s:g} s must be later than"
                f" held_start_s = {self.held_start_s:g} s, or both 0"
            )
        return self

    @property
    def held_s(self) -> list[tuple[float, float]]:
        """What a stream holds, for `Stream.replay`."""
        return [(self.held_start_s, self.held_stop_s)] if self.held_stop_s else []


class SourceParameters(Parameters):
    """Where strain and witnesses come from: files, or, where none is named, the simulator."""

    strain_file: str = field(
        "", input_file=True, help="HDF5 in GWOSC's layout, or a frame; empty cleans a simulated stretch"
    )
    witness_file: str = field("", input_file=True, help="With the witnesses; empty: in strain_file too")
    strain_channel: str = field("strain", help="Name of the strain in its file")
    unsafe_channels: str = field("", help="Channels of the files that carry strain, with commas")
    veto_file: str = field("", input_file=True, help="A veto to take; empty: it is learnt")

    @property
    def unsafe(self) -> tuple[str, ...]:
        """Channels of the files that carry strain."""
        return tuple(name.strip() for name in self.unsafe_channels.split(",") if name.strip())


class FilterParameters(Parameters):
    """The network that tells filters: what it learns from, how large it is, and how long it learns."""

    n_stretches: int = field(2, ge=1, le=1000, help="Simulated stretches whose errors it learns")
    n_validation: int = field(2, ge=1, le=1000, help="Other stretches, which choose the weights")
    n_prior: int = field(3000, ge=10, le=10**5, folded=True, help="Drawn couplings behind the prior")
    n_couplings: int = field(500, ge=10, le=10**6, logarithmic=True, help="Drawn couplings to learn")
    n_steps: int = field(50, ge=1, le=10**6, unit="steps", help="Steps of the training")
    width: Literal[16, 32, 64] = field(32, folded=True, help="Numbers for each bin in each layer")
    batch_size: int = field(32, ge=2, le=10**5, folded=True, help="Couplings in a step")
    learning_rate: float = field(3e-3, ge=1e-6, le=1, logarithmic=True, folded=True, help="Highest one")
    preset: Literal["own", "shipped"] = field("own", help="These parameters, or the shipped network's")

    @property
    def chosen(self) -> Self:
        """These parameters, or those that the preset stands for."""
        if self.preset == "own":
            return self
        return type(self)(n_stretches=30, n_validation=10, n_couplings=8000, n_steps=3000)


class EvaluationParameters(Parameters):
    """How a subtraction is evaluated on the hard set."""

    duration_s: float = field(160.0, ge=64, le=4096, unit="s", help="Length of the stretch")
    n_passes: int = field(1, ge=1, le=100, help="How often signals are injected, other ones each time")


class MonitorParameters(Parameters):
    """What a monitor looks for."""

    part_s: float = field(4.0, ge=1, le=64, unit="s", help="Length of the parts that are judged")
    gain_change: float = field(0.2, ge=0.001, le=2, help="Change of a coupling's gain to look for")
    alarm_threshold: float = field(
        16.0, ge=1, le=100, help="Logarithm of the likelihood ratio at which a change is called"
    )


class VetoParameters(Parameters):
    """Vetoes: which tiles of channels count, and what of time a trigger takes."""

    quality: float = field(8.0, ge=4, le=64, folded=True, help="Quality Q of tiles for what is short")
    long_quality: float = field(24.0, ge=4, le=64, folded=True, help="And of those for what is long")
    low_hz: float = field(12.0, ge=1, le=1000, unit="Hz", folded=True, help="Lowest frequency of tiles")
    high_hz: float = field(
        400.0, ge=10, le=8000, unit="Hz", folded=True, help="Highest frequency, or what the rate allows"
    )
    energy: float = field(22.0, ge=8, le=1000, folded=True, help="Loud tile's energy over row's median")
    beside_energy: float = field(
        16.0, ge=8, le=1000, folded=True, help="And that of tiles beside it, which tell where it is"
    )
    coincidence_s: float = field(
        0.03, ge=0.001, le=10, unit="s", folded=True, help="How near a glitch, when channels are chosen"
    )
    significance: float = field(5.0, ge=1, le=100, folded=True, help="-log10 of chance for a witness")
    half_width_s: float = field(0.015, ge=0, le=10, unit="s", help="Least time vetoed beside a trigger")
    widening: float = field(0.2, ge=0, le=10, help="Time vetoed besides, over the spread of its tiles")


# Signals injected on purpose, `parameters.replace(**CAMPAIGN)`; see `selection.unsafe_channels`.
CAMPAIGN: dict[str, Any] = {
    "n_signals": 8,
    "signal_snr": 60.0,
    "mass_1_msun": 20.0,
    "mass_2_msun": 20.0,
}

# The two benchmark sets: `VirgoParameters(**HARD)`, one stretch for each seed.
_QUIET = {"glitch_rate_hz": 0.0, "n_signals": 0}
EASY: dict[str, Any] = {"duration_s": 512.0, "sample_rate_hz": 1024, **_QUIET}
HARD: dict[str, Any] = EASY | {
    "faults_drawn": True, "coupling_drift": 0.2, "sign_flip": True, "delay_jump_ms": 4.0,
    "witness_gap_s": 40.0, "loop_open_s": 40.0, "missing_s": 40.0, "line_stops": True, "unknown": 2.0,
    "n_idle": 12, "n_unsafe": 2, "n_counters": 1, "n_dead": 1, "glitch_rate_hz": 0.02, "n_signals": 4,
}  # fmt: skip
