"""What the notebooks of inference and of the calibrated twin ask."""

from physics_twins.parameters import Parameters, field


class ConfigurationParameters(Parameters):
    """A gauge configuration, and what is measured of it."""

    configuration_path: str = field(
        "", help="File of a gauge configuration; without one, one is drawn", input_file=True
    )
    largest_loop: int = field(2, ge=1, le=64, help="Most sites along a side of a Wilson loop")
    flow_time: float = field(
        1.0, ge=0.1, le=100, help="Length of the gradient flow, in squares of the lattice spacing"
    )


class MonitorParameters(Parameters):
    """What a monitor of running chains looks for."""

    batch: int = field(
        200,
        ge=20,
        le=100_000,
        logarithmic=True,
        help="Measurements of a chain that are judged together",
    )
    change_sigma: float = field(
        1.0, ge=0.1, le=4, folded=True, help="Change to look for, over the scatter of a batch's mean"
    )
    alarm_threshold: float = field(
        12.0, ge=1, le=100, help="Logarithm of the likelihood ratio at which a change is called"
    )


class TwinParameters(MonitorParameters):
    """What a calibrated twin is asked, and what happens to the chains that it watches."""

    larger_side: int = field(24, ge=2, le=1024, help="Side of the lattice that is asked about")
    changed_by: float = field(
        0.04, ge=-1, le=1, help="By which part quartic or beta changes in the chains that are watched"
    )
