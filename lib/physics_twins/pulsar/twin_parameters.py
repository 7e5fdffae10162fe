"""Parameters of the twin's verbs: how it is calibrated, and how it is watched."""

from physics_twins.parameters import Parameters, field


class CalibrationParameters(Parameters):
    """How the twin is fitted to an observation."""

    observed_path: str = field(
        "",
        input_file=True,
        help="A SIGPROC, PSRFITS or PSRDADA file; empty calibrates on a simulated observation",
    )
    dm_reach_pc_cm3: float = field(
        1.5, ge=0.1, le=20, unit="pc cm-3", help="Pulses are looked for so far around the start's DM"
    )
    pulse_snr_min: float = field(8.0, ge=6, le=100, help="Lowest S/N of a pulse that is fitted")
    max_pulses: int = field(200, ge=1, le=10000, help="Pulses that are fitted at most, the strongest")
    fit_scattering: bool = field(True, help="Whether the scattering time is fitted or the start's kept")
    held_out: float = field(
        0.2, ge=0, le=0.5, help="Part of the pulses on which the shape fitted to the others is tested"
    )


class MonitorParameters(Parameters):
    """Which changes a monitor looks for, and when it calls."""

    scattering_change_ms: float = field(
        0.5, ge=0.01, le=100, unit="ms", help="Change of the scattering time at 1 GHz to be found"
    )
    dm_change_pc_cm3: float = field(
        0.2, ge=0.001, le=10, unit="pc cm-3", help="Change of the dispersion measure to be found"
    )
    width_change: float = field(0.2, ge=0.01, le=2, help="Relative change of the width to be found")
    fluence_change: float = field(
        0.5, ge=0.01, le=10, help="Relative change of the median fluence to be found"
    )
    noise_change: float = field(
        0.03, ge=0.001, le=2, help="Relative change of the noise, or of a channel's gain, to be found"
    )
    occupancy_change: float = field(
        1.0, ge=0.1, le=100, help="Relative change of the interference to be found; 1 is twice as much"
    )
    alarm_threshold: float = field(
        11.0, ge=3, le=50, help="Logarithm of the likelihood ratio, summed, at which a change is called"
    )
    frame_snr_min: float = field(6.0, ge=4, le=100, help="S/N that a pulse needs to tell of its shape")
