"""Dedispersion: shift the channels against each other and add them, for one DM or many."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import (
    Band,
    channel_smearing,
    dispersion_delay,
    snr_ratio_at_dm_error,
)
from physics_twins.pulsar.searching.cleaning import clean, normalise
from physics_twins.pulsar.verb_parameters import LabelParameters


def dm_trials(
    frequency_mhz: NDArray[np.float64], sought: SearchParameters | LabelParameters, *, sampling_s: float
) -> NDArray[np.float64]:
    """Return DM trials so close that the narrowest visible pulse loses at most `dm_loss` of its S/N.

    That pulse is as wide as a sample and the smearing inside the channels make it, so that trials lie
    further apart at high DM (Cordes & McLaughlin 2003, equation 12).

    Args:
        frequency_mhz: Channel centres, shape (channel,).
        sought: `dm_min_pc_cm3` is the first trial; the last is not below `dm_max_pc_cm3`; `dm_loss` is
            the largest relative loss half-way between two trials.
        sampling_s: Time from one spectrum to the next.

    >>> trials = dm_trials(np.linspace(1530, 1210, 256), SearchParameters(), sampling_s=102.4e-6)
    >>> len(trials), trials[:2].round(3), trials[-2:].round(3)
    (679, array([5.   , 5.072]), array([ 99.868, 100.155]))
    """
    lowest_mhz, highest_mhz = frequency_mhz.min(), frequency_mhz.max()
    band_delay_s = float(dispersion_delay(lowest_mhz, 1.0, reference_mhz=highest_mhz))
    smearing_s = middle_smearing(frequency_mhz)
    # The loss depends on DM error over width alone: solve once, for a width of 1 s.
    errors = np.linspace(0, 3 / band_delay_s, 10000)
    ratio = snr_ratio_at_dm_error(errors, 1.0, band_delay_s)
    error_per_s = errors[np.searchsorted(-ratio, sought.dm_loss - 1.0)]
    trials = [sought.dm_min_pc_cm3]
    while trials[-1] < sought.dm_max_pc_cm3:
        smear_s = smearing_s * trials[-1]
        trials.append(trials[-1] + 2 * error_per_s * np.hypot(sampling_s, smear_s))
    return np.array(trials)


def middle_smearing(frequency_mhz: NDArray[np.float64]) -> float:
    """Return by how many s a DM of 1 pc cm-3 smears a pulse inside a channel in the band's middle."""
    channel_width_mhz = np.ptp(frequency_mhz) / max(1, len(frequency_mhz) - 1)
    middle_mhz = [(frequency_mhz.min() + frequency_mhz.max()) / 2]
    return float(channel_smearing(middle_mhz, 1.0, channel_width_mhz=channel_width_mhz)[0])


def dedispersed(
    observation: xr.Dataset, dm_pc_cm3: float, *, variable: str = "data", cleaned: bool = False
) -> xr.DataArray:
    """Return the sum over channels of an observation along one dispersion track.

    Args:
        observation: From `simulate` or a file; the highest frequency comes first.
        dm_pc_cm3: Dispersion measure of the track.
        variable: `data` (counts, each channel normalised by its own noise), or one of the true
            components (Jy, normalised by the simulated noise).
        cleaned: Whether interference is removed from `data` first, as a search does.

    Returns:
        The series (time) in standard deviations of the noise; its time is that of arrival at the
        highest channel.

    Raises:
        ValueError: The dispersion measure is negative.
    """
    if dm_pc_cm3 < 0:
        raise ValueError(f"dm_pc_cm3 = {dm_pc_cm3:g} pc cm-3 must be 0 or more")
    band = Band(observation["frequency"].values, float(observation.attrs["sampling_time_s"]))
    longest = band.delays(dm_pc_cm3) if cleaned else None
    data, good = _normalised(observation, variable, longest)
    series, _ = dedisperse(data, band.whole_delays(dm_pc_cm3), good)
    attributes = {"units": "sigma", "long_name": "Dedispersed signal", "dm_pc_cm3": dm_pc_cm3}
    return xr.DataArray(series, {"time": observation["time"]}, name="dedispersed", attrs=attributes)


def _normalised(
    observation: xr.Dataset, variable: str, longest: NDArray[np.float64] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a variable in standard deviations of the noise (channel, time), and its good channels."""
    spectra = observation[variable].values
    every_channel = np.ones(spectra.shape[1], dtype=bool)
    if variable != "data":
        sigma_jy = np.float32(observation.attrs["noise_sigma_jy"])
        return np.ascontiguousarray(spectra.T / sigma_jy, dtype=np.float32), every_channel
    if longest is None:
        return normalise(spectra), every_channel
    result = clean(spectra, delays=longest)
    return result.data, ~result.bad_channel


def dedisperse(
    data: NDArray[np.float32], delays: NDArray[np.int32], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the sum over channels along one dispersion track, over the root of their number.

    Where a track leaves the data at their end, the channels that remain are added.

    Args:
        data: Normalised spectra, float32, shape (channel, time).
        delays: Samples after the highest channel, shape (channel,).
        good: Channels to add, shape (channel,).

    Returns:
        Series with standard deviation 1 where the noise is white, and the number of channels in each
        of its values, both of shape (time,).
    """
    n_time = data.shape[1]
    series, present = np.zeros(n_time, np.float32), np.zeros(n_time, np.int32)
    for c in np.flatnonzero(good & (delays < n_time)):
        series[: n_time - delays[c]] += data[c, delays[c] :]
        present[: n_time - delays[c]] += 1
    series /= np.sqrt(np.maximum(present, 1))
    return series, present


BLOCK_SPECTRA = 1 << 15
MAX_BLOCK_SAMPLES = 4_000_000


def dedispersed_series(data: Observation, dm_pc_cm3: float) -> xr.DataArray:
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
            there is one channel only.
        ObservationFileError: The file is damaged or of no known format.
    """
    with open_spectra(data) as spectra:
        band, n_spectra = spectra.band, spectra.n_spectra
        overlap = int(np.ceil(max(0.0, dm_pc_cm3) * band.delay_s_per_dm / band.sampling_s))
        if overlap >= n_spectra:
            have = f"the observation has {n_spectra} spectra"
            raise ValueError(f"dm_pc_cm3 = {dm_pc_cm3:g} pc cm-3: its track takes {overlap}, {have}")
        core = max(overlap, min(BLOCK_SPECTRA, MAX_BLOCK_SAMPLES // len(band.frequency_mhz)), 1)
        parts = []
        for start in range(0, n_spectra - overlap, core):
            count = min(core, n_spectra - overlap - start)
            block = dedispersed(spectra.part(start, count + overlap), dm_pc_cm3, cleaned=True)
            parts.append(block.isel(time=slice(0, count)))
    series = xr.concat(parts, "time", coords="minimal", compat="override")
    return series.assign_attrs(parts[0].attrs | {"sampling_time_s": band.sampling_s})
