"""Parameters of the twin's verbs: how it is calibrated, and how it is watched."""

from physics_twins.parameters import Parameters, field


class CalibrationParameters(Parameters):
    """How the twin is fitted to measured showers: what is free, and what is held."""

    fit_scale: bool = field(True, help="Whether the energy scale is fitted")
    fit_resolution: bool = field(True, help="Whether an extra scatter of the gain is fitted")
    fit_absorber: bool = field(True, help="Whether the thickness of the absorbers is fitted")
    fit_angle: bool = field(
        False,
        help="Whether one angle common to all showers is fitted, instead of taking each shower's own;"
        " it hardly shows in layers, so its error is some degrees",
    )
    expected_scale: float = field(
        1.0, ge=0.5, le=2, help="Energy scale that is held where it is not fitted"
    )
    expected_resolution: float = field(
        0.0, ge=0, le=0.2, help="Relative scatter of the gain that is held where it is not fitted"
    )
    expected_absorber_mm: float = field(
        1.4,
        ge=0.01,
        le=50,
        unit="mm",
        help="Thickness of the absorbers that is held where it is not fitted",
    )


class MonitorParameters(Parameters):
    """Which changes a monitor looks for, and when it calls."""

    batch_showers: int = field(10, ge=5, le=1000, help="Showers that are judged together")
    scale_change: float = field(
        0.02, ge=0.001, le=0.5, help="Relative change of the energy scale to be found"
    )
    resolution_change: float = field(
        0.01, ge=0.001, le=0.5, help="Relative scatter of the gain, on top of the known, to be found"
    )
    absorber_change_mm: float = field(
        0.05,
        ge=0.001,
        le=1,
        unit="mm",
        help="Change of the depth of showers to be found, as a thickness of the absorbers",
    )
    alarm_threshold: float = field(
        11.0, ge=3, le=50, help="Logarithm of the likelihood ratio, summed, at which a change is called"
    )


class BeamTimeParameters(Parameters):
    """A beam time: a file's showers, or what the fit must find untold, and how much is shot."""

    model: str = field(
        "calorimeter-flow",
        help="Name of a trained flow, or name/version; see `twins models`. It says what is read out:"
        " calorimeter-layers sees layers of silicon alone",
    )
    observed_path: str = field(
        "",
        input_file=True,
        help="A file of measured showers: CaloChallenge's, 3DGAN's, or a saved dataset of simulate;"
        " empty simulates a test beam with hidden values",
    )
    observed_theta_deg: float = field(
        0.0, ge=0, le=60, unit="deg", help="Angle of the file's particles where it tells none"
    )
    hidden_absorber_mm: float = field(
        1.47, ge=1.2, le=1.6, unit="mm", help="Thickness that the absorbers have"
    )
    hidden_scale: float = field(0.96, ge=0.8, le=1.2, help="Energy scale that the detector has")
    hidden_resolution: float = field(
        0.01, ge=0, le=0.1, help="Relative scatter of the gain that the detector has"
    )
    beam_min_gev: float = field(1.0, ge=1, le=100, unit="GeV", help="Lowest energy, log-uniform")
    beam_max_gev: float = field(20.0, ge=1, le=100, unit="GeV", help="Highest energy")
    n_measured: int = field(400, ge=100, le=100_000, help="Showers that are measured to calibrate on")
    n_watched: int = field(200, ge=20, le=100_000, help="Showers before and after the ageing")
    ageing: float = field(
        0.98,
        ge=0.5,
        le=1.5,
        help="Gain after the ageing over that before it; put on a file's showers, too",
    )
    n_asked: int = field(100, ge=20, le=10_000, help="Showers of the twin for each what-if question")
    audited_gev: float = field(10.0, ge=1, le=100, unit="GeV", help="Energy at which it is audited")
    n_audited: int = field(200, ge=20, le=100_000, help="Showers of Geant4 in the audit, at most")
