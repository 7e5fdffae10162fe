"""Parameters of the classifier's evaluation: which model, and how many test streams."""

from physics_twins.parameters import Parameters, field


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
