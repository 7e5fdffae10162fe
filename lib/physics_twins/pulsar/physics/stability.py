"""How the receiver's noise falls as spectra are averaged, against the radiometer equation."""

import numpy as np
import xarray as xr


def integrated_noise(observation: xr.Dataset) -> xr.DataArray:
    """Return the noise of the whole band after averaging, over that of the radiometer equation.

    White noise stays at 1. Drifts of gain and baseline do not average out: the curve leaves 1 where
    they take over, and longer averaging helps no more.

    Args:
        observation: From `simulate`; of it the receiver alone is used: `noise`, `gain`, `baseline`.

    Returns:
        Ratio of standard deviations, shape (doublings,), for averages over 1, 2, 4, ... spectra,
        down to 16 averages.
    """
    attributes = observation.attrs
    system_jy = attributes["system_jy"]
    gain = observation["gain"].values.astype(np.float64)
    series = gain * (observation["noise"].values.mean(axis=1, dtype=np.float64) + system_jy)
    series = series - system_jy + observation["baseline"].values
    limit_jy = attributes["noise_sigma_jy"] / np.sqrt(observation.sizes["frequency"])
    ratios = []
    while len(series) >= 16:
        ratios.append(series.std() / limit_jy * 2 ** (len(ratios) / 2))
        series = series[: len(series) // 2 * 2].reshape(-1, 2).mean(axis=1)
    doublings = {"long_name": "doublings_of_the_integration_time", "units": "1"}
    return xr.DataArray(
        ratios,
        coords={"doublings": ("doublings", np.arange(len(ratios)), doublings)},
        dims="doublings",
        attrs={"long_name": "noise_over_the_radiometer_equation", "units": "1"},
    )
