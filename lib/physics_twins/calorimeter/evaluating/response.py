"""Response and resolution of a calorimeter against energy, and differences of mean profiles."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.projections import BAND
from physics_twins.data import bootstrap

N_ENERGY_BINS, BIN_SHOWERS = 8, 50
_N_BOOTSTRAPS = 100


def energy_edges(
    energy_gev: NDArray[np.float64], n_bins: int = N_ENERGY_BINS, *, bin_showers: int = 1
) -> NDArray[np.float64]:
    """Return edges of bins in energy: equal in its logarithm, or one bin around one energy.

    There are `n_bins` of them, fewer where less than `bin_showers` would fall in each on average.

    >>> energy_edges(np.array([1.0, 100.0]), 2).round(1)
    array([  1.,  10., 100.])
    """
    low, high = float(energy_gev.min()), float(energy_gev.max())
    if high < 1.001 * low:
        return np.array([0.999 * low, 1.001 * high])
    n_bins = int(np.clip(len(energy_gev) // bin_showers, 1, n_bins))
    return np.geomspace(low, high * (1 + 1e-9), n_bins + 1)


def response_table(numbers: xr.Dataset, edges_gev: NDArray[np.float64]) -> xr.Dataset:
    """Return response and resolution in bins of energy, with standard errors.

    The response is the mean of visible over incident energy; the core's resolution is half the width of
    its central 68 % over the mean: a standard deviation hangs on the few showers that lose much to
    nuclei.

    Args:
        numbers: From `features`.
        edges_gev: Edges of the bins, shape (bin + 1,).

    Returns:
        `response`, `core_resolution`, each with `_error`, and `n_showers` (energy); not a number in
        bins of fewer than four showers.
    """
    place = np.searchsorted(edges_gev, numbers["energy_gev"].values, side="right") - 1
    share = numbers["response"].values
    n_bins = len(edges_gev) - 1
    rows = [_response(share[place == k]) for k in range(n_bins)]
    energy = np.sqrt(edges_gev[1:] * edges_gev[:-1])
    return xr.Dataset(
        {name: ("energy", [row[name] for row in rows], {"units": "1"}) for name in rows[0]},
        {"energy": ("energy", energy, {"units": "GeV", "long_name": "Incident energy"})},
    )


def _response(share: NDArray[np.float64]) -> dict[str, float]:
    n, names = len(share), ("response", "response_error", "core_resolution", "core_resolution_error")
    values = [np.nan] * len(names)
    if n >= 4:
        again = np.random.default_rng(n).choice(share, (_N_BOOTSTRAPS, n))
        error = share.std(ddof=1) / np.sqrt(n)
        values = [share.mean(), error, _core(share), _core(again).std(ddof=1)]
    return {**dict(zip(names, map(float, values), strict=True)), "n_showers": n}


def _core(share: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(share, BAND, axis=-1)
    return (high - low) / (2 * share.mean(axis=-1))


def mean_difference(one: xr.Dataset, other: xr.Dataset, name: str) -> tuple[float, float]:
    """Return the relative difference of two response tables, the mean over energies with its error.

    Each energy has the weight that makes the error small: its number of showers, for the response over
    the square of the reference's resolution. (Weights from the errors themselves would prefer energies
    at which the scatter came out small, and make the resolution look better than it is.)
    """
    ratio = one[name].values / other[name].values
    parts = [each[f"{name}_error"].values / each[name].values for each in (one, other)]
    error = ratio * np.hypot(*parts)
    weight = other["n_showers"].values.astype(float)
    if name == "response":
        weight = weight / np.maximum(other["core_resolution"].values, 1e-6) ** 2
    known = np.isfinite(error) & np.isfinite(weight)
    if not known.any():
        return np.nan, np.nan
    weight = weight[known] / weight[known].sum()
    return float(weight @ (ratio[known] - 1)), float(np.sqrt(weight**2 @ error[known] ** 2))


def profile_difference(
    sample: NDArray[np.float64], reference: NDArray[np.float64], *, seed: int
) -> tuple[float, float]:
    """Return the part of the energy that two mean profiles have in other places, with its error.

    Half the sum of absolute differences of the profiles, each of sum 1.

    Args:
        sample: Energy by shower and place, shape (shower, place).
        reference: Likewise.
        seed: Of the bootstrap.
    """

    def difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        one, other = a.sum(axis=0), b.sum(axis=0)
        return float(0.5 * np.abs(one / one.sum() - other / other.sum()).sum())

    found = bootstrap(difference, sample, reference, seed=[seed, 6], n_draws=_N_BOOTSTRAPS)
    return float(found[0]), float(found[1])
