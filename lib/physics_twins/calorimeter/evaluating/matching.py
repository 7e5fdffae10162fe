"""Sets of showers cut to the same energies, so that what they differ in is not what entered."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import KDTree

from physics_twins.calorimeter.evaluating.response import energy_edges

# Bins at most, and showers of the reference in each at least, on average.
N_ENERGIES, N_ANGLES, BIN_SHOWERS = 16, 4, 25
_MANY_SHOWERS = 1000
# With less than this part of the reference left, a comparison says little about it.
LEAST_PART = 0.3


def matched(samples: Mapping[str, xr.Dataset], reference: str) -> dict[str, NDArray[np.int64]]:
    """Return which showers to use of each sample, so that all have the same energies and angles.

    The range of the reference is cut into up to 16 bins of energy, equal in its logarithm, and 4 of
    angle where there are 1000 showers; in each bin as many showers are used of every sample as the one
    with the fewest has, the first ones.

    Args:
        samples: Showers by name, with `energy_gev` and perhaps `theta_deg`.
        reference: Name of the one whose range counts.

    Returns:
        Numbers of showers by sample, in the samples' order, all of one length.

    Raises:
        ValueError: Less than 30 % of the reference is left.
    """
    known = samples[reference]
    n_angles = N_ANGLES if known.sizes["shower"] >= _MANY_SHOWERS else 1
    energies = known["energy_gev"].values
    edges = energy_edges(energies, N_ENERGIES, bin_showers=BIN_SHOWERS * n_angles)
    angles = _angles(known, n_angles)
    bins = {name: _bins(each, edges, angles) for name, each in samples.items()}
    n_bins = (len(edges) - 1) * (len(angles) - 1)
    counts = {name: np.bincount(b[b >= 0], minlength=n_bins) for name, b in bins.items()}
    fewest = np.min(list(counts.values()), axis=0)
    n, whole = int(fewest.sum()), known.sizes["shower"]
    if n < LEAST_PART * whole:
        least = min(counts, key=lambda name: int(np.minimum(counts[name], counts[reference]).sum()))
        found = samples[least]["energy_gev"].values
        raise ValueError(
            f"only {n} of {whole} showers of the {reference} have partners of the same energy and"
            f" angle: the {least} has {len(found)} showers from {found.min():g} to {found.max():g} GeV,"
            f" expected the spectrum of the {reference}, {edges[0]:g} to {edges[-1]:g} GeV"
        )
    return {name: _first(b, fewest) for name, b in bins.items()}


def nearest_in_conditions(asked: xr.Dataset, known: xr.Dataset, n: int = 1) -> NDArray[np.int64]:
    """Return for each shower the `n` known ones of most similar energy and angle, (shower, n).

    A factor e in energy counts as much as ten degrees.
    """

    def place(showers: xr.Dataset) -> NDArray[np.float64]:
        energy = np.log(showers["energy_gev"].values)
        angle = showers["theta_deg"].values / 10 if "theta_deg" in showers else np.zeros(len(energy))
        return np.stack([energy, angle], axis=1)

    _, found = KDTree(place(known)).query(place(asked), k=n)
    return np.asarray(found, dtype=np.int64).reshape(-1, n)


def _angles(showers: xr.Dataset, n_bins: int) -> NDArray[np.float64]:
    theta = showers["theta_deg"].values if "theta_deg" in showers else np.zeros(1)
    low, high = float(theta.min()), float(theta.max())
    # The ends are open by a rounding.
    return np.linspace(low - 1e-6, high + 1e-6, (n_bins if high > low else 1) + 1)


def _bins(
    showers: xr.Dataset, edges: NDArray[np.float64], angles: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the bin of each shower, -1 outside all."""
    energy = showers["energy_gev"].values
    theta = showers["theta_deg"].values if "theta_deg" in showers else np.zeros(len(energy))
    row = np.searchsorted(edges, energy, side="right") - 1
    column = np.searchsorted(angles, theta, side="right") - 1
    n_rows, n_columns = len(edges) - 1, len(angles) - 1
    inside = (row >= 0) & (row < n_rows) & (column >= 0) & (column < n_columns)
    return np.where(inside, row * n_columns + column, -1)


def _first(bins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first so many showers of each bin, in order."""
    chosen = [np.flatnonzero(bins == k)[:n] for k, n in enumerate(counts) if n]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
