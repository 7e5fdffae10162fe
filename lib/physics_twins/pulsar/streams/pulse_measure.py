"""What a labelling measures of each pulse that it keeps: arrival, DM, width and S/N with errors."""

from typing import Any

import xarray as xr

from physics_twins.data import Estimate
from physics_twins.pulsar.fitting.pulse_fit import PulseFit, PulseStart, fit_pulse
from physics_twins.pulsar.streams.keeping import Decision

# So much before a piece is read with it, for each channel's level and the noise.
BEFORE_S = 0.5


def measure_pulse(surroundings: xr.Dataset, decision: Decision) -> dict[str, Any]:
    """Return the parameters of a pulse, each with its 68 % interval.

    Scattering is not told from width: of a scattered pulse, `width_ms` is that of the best Gaussian,
    and `p_value` is low.

    Args:
        surroundings: With `data` (time, frequency), the piece and what is beside it.
        decision: The frame of the pulse.

    Returns:
        `dm_pc_cm3`, `width_ms`, `time_s` and `snr`, each with `value`, `low`, `high` and `unit`, and
        `p_value`; only `problem` where nothing can be fitted.
    """
    # The filter that found it is as wide as the pulse at half its height.
    start = PulseStart(decision.dm_pc_cm3, decision.time_s, 1e-3 * decision.width_ms)
    try:
        fit = fit_pulse(surroundings, start)
        return {name: each.model_dump() for name, each in _estimates(fit).items()} | {
            "p_value": fit.p_value
        }
    except ValueError as error:
        return {"problem": str(error)}


def _estimates(fit: PulseFit) -> dict[str, Estimate]:
    pulse = fit.pulses.isel(pulse=0)
    own = {"time_s": ("time_error_s", "s"), "snr": ("snr_error", "1")}
    return fit.parameters | {
        name: Estimate.of(pulse[name].item(), pulse[error].item(), unit)
        for name, (error, unit) in own.items()
    }
