"""Parameters of what a labelling keeps, and of what it tells at once."""

from physics_twins.parameters import Parameters, field


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
