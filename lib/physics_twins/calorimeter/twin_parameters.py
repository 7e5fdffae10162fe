"""Parameters of the twin's verbs: how it is calibrated, and how it is watched."""

from physics_twins.parameters import Parameters, field


class CalibrationParameters(Parameters):
    """What is fitted to measured showers; at least one."""

    fit_energy_scale: bool = field(True, help="Whether measured over true energy is fitted, or is 1")
    fit_absorber: bool = field(True, help="Whether the absorbers' thickness is fitted, or as given")
    fit_resolution: bool = field(
        False, help="Whether a scatter of whole showers beyond their own is fitted, or is 0"
    )
    fit_angle: bool = field(
        False, help="Whether one angle of all particles is fitted, or those of the data are right"
    )


class MonitorParameters(Parameters):
    """Which changes a monitor looks for, and when it calls."""

    response_change: float = field(
        0.01, ge=1e-4, le=0.5, help="Relative change of the energy scale to be found"
    )
    depth_change_mm: float = field(
        0.5, ge=0.01, le=100, unit="mm", help="Change of the showers' mean depth to be found"
    )
    scatter_change: float = field(
        0.2, ge=0.01, le=5, help="Relative change of the resolution to be found"
    )
    alarm_threshold: float = field(
        7.0, ge=3, le=50, help="Logarithm of the likelihood ratio, summed, at which a change is called"
    )
    batch_showers: int = field(50, ge=20, le=10**6, help="Showers that are judged together")
