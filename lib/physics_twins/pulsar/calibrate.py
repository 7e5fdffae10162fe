"""Fit the twin to an observation: what the pulsar, the medium and the receiver are, with errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from physics_twins import __version__, twin
from physics_twins.data import Estimate, content_sha256, file_sha256
from physics_twins.pulsar.fitting.arrivals import Rotation, rotation
from physics_twins.pulsar.fitting.least_squares import Solution, of_some, solve
from physics_twins.pulsar.fitting.pulse_finding import FoundPulses, find_pulses
from physics_twins.pulsar.fitting.pulse_fit import PulseFit, describe, fit_windows
from physics_twins.pulsar.fitting.pulse_limits import cramer_rao
from physics_twins.pulsar.formats.spectra import Observation
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.receiver import sample_noise_jy, transmission
from physics_twins.twin import correlated

# A pulse that the common shape explains so much worse than its own boxcar is something else.
MIN_SNR_KEPT = 0.6
# So many of the strongest pulses find the shape from the start.
N_FIRST = 4
MAX_PULSES = 200  # that are fitted, the strongest
HELD_OUT = 0.2  # part of the pulses on which the shape fitted to the others is tested
# Fewer pulses than this on either side make no test on held-out pulses.
MIN_HELD_OUT = 2
# Parameters whose tested range is that of the calibrated twin.
TESTED = ("dm_pc_cm3", "width_ms", "scattering_ms", "period_s", "fluence_jy_ms")


@dataclass(frozen=True)
class Calibration(twin.Calibration):
    """The twin as an observation says it is; see `twin.Calibration`.

    Its parameters are `dm_pc_cm3`, `width_ms` and, where it was fitted, `scattering_ms`;
    `fluence_jy_ms` (median) and `energy_scatter` of the pulses found; `period_s` and the first pulse's
    `arrival_s` where the arrivals tell; `noise_counts`, `narrowband_occupancy` and
    `broadband_occupancy`. The residual is that of all pulses stacked.

    Attributes:
        fit: The shape, with covariance, residual and score, and every pulse's arrival and S/N.
        bandpass: From `Background.bandpass`.
        search: What the search alone says of DM and width, the baseline of the fit.
        start: What the fit started from, receiver included.
    """

    fit: PulseFit
    bandpass: xr.Dataset
    search: dict[str, Estimate]
    start: ObservationParameters

    def observation(self) -> ObservationParameters:
        """Return the parameters with which the twin simulates what it was calibrated on."""
        return calibrated(self.start, self.parameters)

    def limit(self) -> dict[str, float]:
        """Return the smallest errors that are possible with these pulses, from Cramer and Rao."""
        pulses = self.fit.pulses
        fluence_jy_ms = np.maximum(pulses["fluence"].values * _one_sigma_jy(self.start), 0.0)
        return cramer_rao(self.observation(), fluence_jy_ms=fluence_jy_ms, fit_scattering=True)


def calibrate(data: Observation, *, start: ObservationParameters, seed: int) -> Calibration:
    """Fit the twin to an observation.

    Pulses near the start's DM are found, cut out, and explained together by one DM, width and
    scattering time, each with an arrival and a fluence of its own. What lies between them gives the
    bandpass, the noise and the interference.

    Args:
        data: An observation (time, frequency), or a file.
        start: About the DM, width, scattering time and period; the receiver turns counts into Jy.
        seed: Chooses the pulses that are held out.

    Raises:
        ValueError: No pulse is found.
        ObservationFileError: The file is damaged or of no known format.
    """
    found = find_pulses(data, start).strongest(MAX_PULSES)
    start = _received(start, found)
    best, kept = _joint(found, start)
    found = found.chosen(kept)
    fit = describe(found.windows, best, found.noise_factor)
    parameters = fit.parameters | _energies(fit.pulses, start) | found.background.estimates()
    turning = rotation(fit.pulses["time_s"].values, fit.pulses["time_error_s"].values, start.period_s)
    if turning:
        parameters |= {"period_s": turning.period_s, "arrival_s": turning.first_s}
    return Calibration(
        twin="pulsar",
        parameters=parameters,
        correlation=_correlation(fit, turning),
        residual=fit.residual,
        score=_score(fit) | _held_out(found, best, np.random.default_rng(seed)),
        valid_range=_tested_range(parameters),
        model=f"physics-twins {__version__}",
        fit=fit,
        bandpass=found.background.bandpass(),
        search=found.alone(),
        start=start,
    )


def identity(data: Observation) -> str:
    """Return what tells data from others: a name, and the SHA-256 of the content."""
    if isinstance(data, xr.Dataset):
        digest = content_sha256(data[["data"]])
        return f"{data.attrs.get('source_name', 'dataset')} sha256:{digest}"
    return f"{Path(data).name} sha256:{file_sha256(Path(data))}"


def calibrated(start: ObservationParameters, parameters: dict[str, Estimate]) -> ObservationParameters:
    """Return an observation with those of its parameters that a calibration knows."""
    known = ObservationParameters.describe()
    changes: dict[str, Any] = {}
    for name, estimate in parameters.items():
        if name in known:
            low, high = known[name].minimum, known[name].maximum
            changes[name] = float(np.clip(estimate.value, low, high))
    return start.replace(**changes)


def _correlation(fit: PulseFit, turning: Rotation | None) -> dict[str, dict[str, float]]:
    """Return that of the shape, and that of period and arrival; fluences scatter by themselves."""
    of_arrivals = {"period_s": {"arrival_s": turning.correlation}} if turning else {}
    return correlated([*fit.parameters], fit.covariance) | of_arrivals


def _score(fit: PulseFit) -> dict[str, float]:
    return {
        "reduced_chi_squared": fit.reduced_chi_squared,
        "p_value": fit.p_value,
        "n_pulses": float(fit.pulses.sizes["pulse"]),
    }


def _tested_range(parameters: dict[str, Estimate]) -> dict[str, tuple[float, float]]:
    known = ObservationParameters.describe()
    ends = {name: (known[name].minimum, known[name].maximum) for name in TESTED if name in parameters}
    return {n: (float(low or 0.0), float(high or np.inf)) for n, (low, high) in ends.items()}


def _received(start: ObservationParameters, found: FoundPulses) -> ObservationParameters:
    """Return the start with the band and the sampling time that the data have."""
    frequency_mhz, n = found.windows.band.frequency_mhz, len(found.windows.band.frequency_mhz)
    width_mhz = float(frequency_mhz[0] - frequency_mhz[-1]) / (n - 1)
    return start.replace(
        n_channels=n,
        centre_frequency_mhz=float(frequency_mhz[0] + frequency_mhz[-1]) / 2,
        bandwidth_mhz=width_mhz * n,
        sampling_time_us=1e6 * found.windows.band.sampling_s,
    )


def _joint(found: FoundPulses, start: ObservationParameters) -> tuple[Solution, NDArray[np.int64]]:
    """Return the joint solution, and the pulses that belong to it.

    The strongest pulses alone find the shape, wherever the start was; all of them then refine it.
    """
    first = np.argsort(-found.snr)[:N_FIRST]
    rough = fit_windows(
        found.windows.chosen(first),
        start.dm_pc_cm3,
        found.time_s[first],
        found.boxcar_s,
        scattering_ms=None,
    )
    shapes = np.tile(rough.shapes[0], (len(found.time_s), 1))
    # With the DM changes the arrival at the highest channel, not that in the middle of the band.
    moved_ms = (rough.shapes[0, 1] - start.dm_pc_cm3) * found.windows.laws.delay_ms[-1] / 2
    shapes[:, 0] = 1e3 * (found.time_s - found.windows.start_s) - moved_ms
    best = solve(found.windows, shapes, rough.free)
    kept = np.flatnonzero(best.snr > MIN_SNR_KEPT * found.snr)
    if len(kept) in (0, len(shapes)):
        return best, np.arange(len(shapes))
    return solve(found.windows.chosen(kept), best.shapes[kept], best.free), kept


def _one_sigma_jy(start: ObservationParameters) -> float:
    """Return the flux density above the atmosphere that is worth the noise of one sample."""
    return sample_noise_jy(start) / transmission(start)


def _energies(pulses: xr.Dataset, start: ObservationParameters) -> dict[str, Estimate]:
    """Return median and scatter of the fluences; the errors' own scatter is taken away."""
    logarithm = np.log(pulses["fluence"].values * _one_sigma_jy(start))
    error = (pulses["fluence_error"] / pulses["fluence"]).values
    n = len(logarithm)
    middle = float(np.mean(logarithm))
    scatter = float(np.sqrt(max(np.var(logarithm, ddof=min(1, n - 1)) - np.mean(error**2), 0.0)))
    of_mean = float(np.hypot(scatter, np.sqrt(np.mean(error**2))) / np.sqrt(n))
    low, high = (float(np.exp(middle + side * of_mean)) for side in (-1, 1))
    found_energies = {
        "fluence_jy_ms": Estimate(value=float(np.exp(middle)), low=low, high=high, unit="Jy ms")
    }
    if n > 2:
        of_scatter = float(np.hypot(scatter, np.sqrt(np.mean(error**2))) / np.sqrt(2 * (n - 1)))
        low = max(scatter - of_scatter, 0.0)
        found_energies["energy_scatter"] = Estimate(value=scatter, low=low, high=scatter + of_scatter)
    return found_energies


def _held_out(found: FoundPulses, best: Solution, rng: np.random.Generator) -> dict[str, float]:
    """Return how well the shape of most pulses explains the rest; nothing where there are too few.

    `held_out_snr_kept` is the part of the rest's S/N that the shape of the others finds, against their
    own; `held_out_p_value` the probability that the two shapes differ more, were they the same.
    """
    n = len(found.windows)
    n_test = round(HELD_OUT * n)
    if n_test < MIN_HELD_OUT or n - n_test < MIN_HELD_OUT:
        return {}
    test = np.sort(rng.permutation(n)[:n_test])
    train = np.setdiff1d(np.arange(n), test)
    offsets, covariances = zip(*(of_some(best, which) for which in (train, test)), strict=True)
    difference = offsets[1] - offsets[0]
    covariance = found.noise_factor**2 * (covariances[0] + covariances[1])
    distance = float(difference @ np.linalg.solve(covariance, difference))
    # What the others' shape misses of the chi-squared that the pulses' own would gain.
    missed = float(difference @ np.linalg.solve(covariances[1], difference))
    gain = float(np.square(best.snr[test]).sum())
    return {
        "held_out_snr_kept": float(np.sqrt(max(1 - missed / gain, 0.0))),
        "held_out_p_value": float(stats.chi2.sf(distance, len(difference))),
    }
