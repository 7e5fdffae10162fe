"""A whole observation as one dedispersed series, streamed from a file of any length."""

import os
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import xarray as xr

from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.searching.dedispersion import dedispersed

BLOCK_SPECTRA = 1 << 15
MAX_BLOCK_SAMPLES = 4_000_000


def dedispersed_series(data: xr.Dataset | str | os.PathLike[str], dm_pc_cm3: float) -> xr.DataArray:
    """Return an observation, cleaned of interference, summed along one dispersion track.

    Args:
        data: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed: memory holds a block and the series.
        dm_pc_cm3: Dispersion measure.

    Returns:
        The series (time) in standard deviations of the noise in each block; its time is that of arrival
        at the highest channel, and it ends where the track leaves the observation.

    Raises:
        ValueError: The dispersion measure is negative, the track is longer than the observation, or
            there is one channel only, whose series needs no dedispersion.
        ObservationFileError: The file is damaged or of no known format.
    """
    with nullcontext(data) if isinstance(data, xr.Dataset) else open_observation(data) as source:
        if isinstance(source, xr.Dataset):
            return _stitched(
                lambda a, n: source.isel(time=slice(a, a + n)), source.sizes["time"], dm_pc_cm3
            )
        return _stitched(source.dataset, source.n_spectra, dm_pc_cm3)


def _stitched(read: Callable[[int, int], xr.Dataset], n_spectra: int, dm_pc_cm3: float) -> xr.DataArray:
    frequency_mhz = read(0, min(1, n_spectra))["frequency"].values
    if len(frequency_mhz) < 2:
        raise ValueError("frequency: one channel only: a time series can be folded as it is")
    sampling_s = float(read(0, min(1, n_spectra)).attrs["sampling_time_s"])
    band = frequency_mhz.min(), frequency_mhz.max()
    sweep_s = float(dispersion_delay(band[0], max(0.0, dm_pc_cm3), reference_mhz=band[1]))
    overlap = int(np.ceil(sweep_s / sampling_s))
    if overlap >= n_spectra:
        have = f"the observation has {n_spectra} spectra"
        raise ValueError(f"dm_pc_cm3 = {dm_pc_cm3:g} pc cm-3: its track takes {overlap}, {have}")
    core = max(overlap, min(BLOCK_SPECTRA, MAX_BLOCK_SAMPLES // len(frequency_mhz)), 1)
    parts = []
    for start in range(0, n_spectra - overlap, core):
        count = min(core, n_spectra - overlap - start)
        block = read(start, count + overlap).sortby("frequency", ascending=False)
        parts.append(dedispersed(block, dm_pc_cm3, cleaned=True).isel(time=slice(0, count)))
    series = xr.concat(parts, "time", coords="minimal", compat="override")
    return series.assign_attrs(parts[0].attrs | {"sampling_time_s": sampling_s})
