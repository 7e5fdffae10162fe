"""Parameters of those who use a trained flow: how it is evaluated, and how it is trained anew."""

from physics_twins.parameters import Parameters, field


class ShowerEvaluationParameters(Parameters):
    """How a flow is held against Geant4."""

    model: str = field(
        "calorimeter-flow", help="Name of a trained flow, or name/version; see `twins models`"
    )
    n_test: int = field(
        300, ge=100, le=10**7, logarithmic=True, help="Showers of Geant4 that it is held against"
    )
    n_training: int = field(
        300, ge=100, le=10**7, logarithmic=True, help="Showers of the training set that are copied"
    )
    n_audited: int = field(100, ge=20, le=10**6, help="Showers of Geant4 in the audit at most")


class RetrainingParameters(Parameters):
    """A training for a new range, small enough to be tried."""

    model: str = field(
        "calorimeter-flow", help="Name of a trained flow, or name/version; see `twins models`"
    )
    n_retraining_showers: int = field(
        40, ge=20, le=10**7, logarithmic=True, help="Showers of the new range to learn from"
    )
    n_retraining_steps: int = field(10, ge=1, le=10**7, unit="steps", help="Steps of that training")
