"""How complete the classifier is: the part of pulses it finds, by S/N, DM and width; to be swept."""

from typing import Any

from physics_twins.parameters import Parameters, field
from physics_twins.pulsar.verb_parameters import WindowParameters


class CompletenessParameters(Parameters):
    """Pulses of one kind in a stream, and above which score they count as found."""

    snr: float = field(7.0, ge=0.1, le=1e3, logarithmic=True, help="S/N of a pulse's whole sweep")
    dm_pc_cm3: float = field(56.7, ge=0, le=75, unit="pc cm-3", help="Dispersion measure")
    width_ms: float = field(
        0.5, ge=0.05, le=20, unit="ms", logarithmic=True, help="Full width at half maximum"
    )
    score_min: float = field(0.0, ge=-100, le=100, help="Lowest logarithm of the odds of a pulse")
    nbrfi_fraction: float = field(0.047, ge=0, le=1, help="Frames with narrow-band interference")
    bbrfi_fraction: float = field(0.004, ge=0, le=1, help="Frames with broad-band interference")
    n_streams: int = field(4, ge=1, le=10**5, help="Streams of 32 pulses")
    model: str = field("pulsar-classifier", help="Name, or name and version, of the classifier")


def completeness(parameters: CompletenessParameters, *, seed: int = 1) -> dict[str, Any]:
    """Return the part of pulses that the classifier finds.

    Args:
        parameters: What the pulses are.
        seed: Seed of the first stream; a stream has a seed of its own.

    Returns:
        `n_pulses`, and `recall` with its binomial error.
    """
    from physics_twins.pulsar.classifying.recall_curves import fraction_above, network_detector, scores
    from physics_twins.pulsar.model import load_classifier

    p = parameters
    stream = WindowParameters(
        n_windows=32,
        pulse_fraction=1.0,
        snr_min=p.snr,
        snr_max=p.snr,
        dm_min_pc_cm3=p.dm_pc_cm3,
        dm_max_pc_cm3=p.dm_pc_cm3,
        width_min_ms=p.width_ms,
        width_max_ms=p.width_ms,
        nbrfi_fraction=p.nbrfi_fraction,
        nbrfi_outside=p.nbrfi_fraction,
        bbrfi_fraction=p.bbrfi_fraction,
        bbrfi_outside=p.bbrfi_fraction,
    )
    detector = {"classifier": network_detector(load_classifier(p.model))}
    first = 1000 * seed
    found = scores(detector, stream, range(first, first + p.n_streams))["classifier"]
    value, error = fraction_above(found, p.score_min)
    return {"n_pulses": len(found), "recall": {"value": value, "error": error}}
