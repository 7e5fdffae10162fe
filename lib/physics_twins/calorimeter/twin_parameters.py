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
    depth_change_layers: float = field(
        0.2, ge=0.01, le=20, unit="layers", help="Change of the showers' mean depth to be found"
    )
    scatter_change: float = field(
        0.2, ge=0.01, le=5, help="Relative change of the resolution to be found"
    )
    alarm_threshold: float = field(
        7.0, ge=3, le=50, help="Logarithm of the likelihood ratio, summed, at which a change is called"
    )
    batch_showers: int = field(50, ge=20, le=10**6, help="Showers that are judged together")


class TwinParameters(Parameters):
    """A calorimeter whose truth is hidden from the twin, for the notebook that calibrates it."""

    n_measured: int = field(150, ge=50, le=10**6, help="Showers that are measured")
    true_absorber_mm: float = field(
        1.33, ge=1.2, le=1.6, unit="mm", help="Thickness of absorbers, which the fit does not know"
    )
    true_energy_scale: float = field(
        0.985, ge=0.5, le=2, help="Measured over true energy, which the fit does not know"
    )
    aged_response: float = field(0.97, ge=0.5, le=2, help="Response after ageing, over that before")
    n_batches: int = field(
        4, ge=4, le=10_000, help="Batches of 50 showers that are watched, half of them after ageing"
    )
    energy_gev: float = field(1.0, ge=1, le=100, unit="GeV", help="Lowest energy of the electrons")
    energy_max_gev: float = field(20.0, ge=1, le=100, unit="GeV", help="Highest, log-uniform")
