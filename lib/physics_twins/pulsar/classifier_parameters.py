"""Parameters of the classifier's training: how many streams of each kind it sees."""

from physics_twins.parameters import Parameters, field
from physics_twins.pulsar.window_parameters import W_CLS, WindowParameters


class ClassifierParameters(Parameters):
    """How much the classifier learns from; the defaults are those of the weights that ship."""

    n_noise_streams: int = field(
        80, ge=1, le=10**6, help="Streams of 128 frames of white noise, which set the false alarms"
    )
    n_faint_streams: int = field(
        60, ge=1, le=10**6, help="Streams of 64 windows with faint pulses in white noise"
    )
    n_class_streams: int = field(
        320, ge=1, le=10**6, help="Streams of 43 windows in which all classes come equally often"
    )
    n_mixed_streams: int = field(
        160, ge=1, le=10**6, help="Streams of 64 windows with faint pulses between interference"
    )
    n_steps: int = field(2000, ge=1, le=10**8, unit="steps", help="Steps of the training")
    batch_size: int = field(256, ge=2, le=10**6, help="Frames in a step")
    learning_rate: float = field(4e-3, ge=1e-6, le=1, logarithmic=True, help="Highest learning rate")

    @property
    def n_streams(self) -> list[int]:
        """Streams of each of `PARTS`."""
        return [
            self.n_noise_streams,
            self.n_faint_streams,
            self.n_class_streams,
            self.n_mixed_streams,
        ]


# What the streams of each kind hold, in the order of the numbers above.
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
)
MIXED = WindowParameters(
    n_windows=64,
    window_frames=2,
    pulse_fraction=0.3,
    snr_min=4.5,
    snr_max=40.0,
    nbrfi_fraction=0.25,
    bbrfi_fraction=0.25,
    nbrfi_outside=0.25,
    bbrfi_outside=0.25,
    other_fraction=0.02,
    rfi_snr_max=300.0,
)
PARTS = (NOISE, FAINT, CLASSES_EQUAL, MIXED)
