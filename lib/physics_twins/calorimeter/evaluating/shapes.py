"""Profiles, spectra, histograms and curves of several sets of showers side by side, for figures.

And the metrics that come from the same numbers: separation powers, differences of mean profiles, tails.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating import response
from physics_twins.calorimeter.evaluating.classifying import Told
from physics_twins.calorimeter.evaluating.separation import separation
from physics_twins.calorimeter.projections import BAND
from physics_twins.data import fraction

# Numbers of a shower whose histograms are kept.
HISTOGRAMS = ("response", "depth_mm", "length_mm", "radius_mm", "spread_mm", "empty", "largest_mev")
PROFILES = {"layer_mev": "layer", "ring_mev": "ring", "cell_count": "cell_energy"}
# Bins of a histogram, fewer with few showers, and how far it reaches in widths of the reference.
_N_BINS, _BIN_SHOWERS, _FARTHEST = (10, 40), 15, 2.0


def shapes(numbers: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return what the figures show of each set.

    Args:
        numbers: From `features` by name, one of them `reference`, of the same energies.

    Returns:
        By `source`: `layer_mev`, `ring_mev`, `cell_count` with `_error`, `_low` and `_high` (source,
        place), means and the central 68 % of showers; `response`, `resolution`, `core_resolution`
        with `_error` (source, energy); `width_x_mm`, `width_y_mm` (source, layer), mean widths;
        `correlation` (source, layer, other_layer); `NAME_share` with `_error` (source, bin) and
        `NAME_edge` (edge) of each number in `HISTOGRAMS`, in bins that hold nearly all showers of all
        sets.
    """
    known = numbers["reference"]
    edges_gev = response.energy_edges(known["energy_gev"].values, bin_showers=response.BIN_SHOWERS)
    edges = {
        name: _edges([each[name].values for each in numbers.values()], known[name].values)
        for name in HISTOGRAMS
    }
    parts = []
    for each in numbers.values():
        made = [_profiles(each), response.response_table(each, edges_gev), _histograms(each, edges)]
        layers = ("layer", "other_layer")
        matrix = (layers, response.correlation(each), {"units": "1", "long_name": "Correlation"})
        parts.append(xr.merge(made, join="exact").assign(correlation=matrix))
    together: Any = xr.concat(
        parts, "source", join="exact", coords="minimal", compat="override", data_vars="all"
    )
    for name, values in edges.items():
        together[f"{name}_edge"] = (f"{name}_edges", values, dict(known[name].attrs))
    return together.assign_coords(source=list(numbers))


def roc(curves: Mapping[tuple[str, str], Told]) -> xr.Dataset:
    """Return ROC curves: `true_positive` (sample, kind, false_positive), kinds features and voxels."""
    samples = list(dict.fromkeys(sample for sample, _ in curves))
    kinds = list(dict.fromkeys(kind for _, kind in curves))
    level = next(iter(curves.values())).false_positive
    values = [[curves[sample, kind].true_positive for kind in kinds] for sample in samples]
    about = {"units": "1", "long_name": "Part of the sample above a score"}
    other = {"units": "1", "long_name": "Part of Geant4's showers above it"}
    return xr.Dataset(
        {"true_positive": (("sample", "kind", "false_positive"), np.array(values), about)},
        {"sample": samples, "kind": kinds, "false_positive": ("false_positive", level, other)},
    )


def separations(numbers: xr.Dataset, known: xr.Dataset, *, seed: int) -> dict[str, tuple[float, float]]:
    """Return separation powers of numbers of a shower, and means over those of layers and rings."""
    incident = [1e3 * each["energy_gev"].values[:, None] for each in (numbers, known)]
    single = {
        "separation_total": "response",
        "separation_depth": "depth_mm",
        "separation_length": "length_mm",
        "separation_radius": "radius_mm",
    }
    several = {
        "separation_layers": ("layer_mev",),
        "separation_rings": ("ring_mev",),
        "separation_centres": ("centre_x_mm", "centre_y_mm"),
        "separation_widths": ("width_x_mm", "width_y_mm"),
        "separation_sparsity": ("sparsity",),
    }
    found = {}
    for name, variable in single.items():
        pair = [each[variable].values[:, None] for each in (numbers, known)]
        found[name] = _last(separation(*pair, seed=seed))
    for name, variables in several.items():
        pair = []
        for each, whole in zip((numbers, known), incident, strict=True):
            columns = [each[variable].values for variable in variables]
            # Energies as parts of the incident one, else its spread would hide what differs.
            pair.append(np.concatenate(columns, axis=1) / (whole if name in _ENERGIES else 1.0))
        found[name] = _last(separation(*pair, seed=seed))
    return found


_ENERGIES = ("separation_layers", "separation_rings")


def profile_differences(
    numbers: xr.Dataset, known: xr.Dataset, *, seed: int
) -> dict[str, tuple[float, float]]:
    """Return differences of mean profiles, of the spectrum of cells, and of tails."""
    found = {}
    for name, variable in (
        ("longitudinal", "layer_mev"),
        ("lateral", "ring_mev"),
        ("cell_spectrum", "cell_count"),
    ):
        pair = [each[variable].values for each in (numbers, known)]
        found[name] = response.profile_difference(*pair, seed=seed)
    for name, variable, level in (
        ("response_low_tail", "response", response.TAILS[0]),
        ("response_high_tail", "response", response.TAILS[1]),
        ("radius_high_tail", "radius_mm", response.TAILS[1]),
    ):
        ours, theirs = (each[variable].values for each in (numbers, known))
        found[name] = response.tail_difference(ours, theirs, level, seed=seed)
    ours, theirs = (each["largest_mev"] / each["energy_gev"] for each in (numbers, known))
    tail = response.tail_difference(ours.values, theirs.values, response.TAILS[1], seed=seed)
    found["cell_high_tail"] = tail
    return found


def _last(
    both: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[float, float]:
    return float(both[0][-1]), float(both[1][-1])


def _profiles(numbers: xr.Dataset) -> xr.Dataset:
    """Return mean profiles with errors and bands, and mean widths of layers."""
    made = {}
    n = numbers.sizes["shower"]
    for name in PROFILES:
        array = numbers[name]
        low, high = (array.quantile(q, "shower").drop_vars("quantile") for q in BAND)
        error = array.std("shower", ddof=1) / np.sqrt(n)
        columns = {"": array.mean("shower"), "_error": error, "_low": low, "_high": high}
        for suffix, column in columns.items():
            made[name + suffix] = column.assign_attrs(array.attrs)
    for name in ("width_x_mm", "width_y_mm"):
        # Layers that are empty in a shower have no width there, and those that always are, none at all.
        array = numbers[name]
        count = array.notnull().sum("shower")
        total = array.fillna(0.0).sum("shower")
        made[name] = (total / count.where(count > 0)).assign_attrs(array.attrs)
    return xr.Dataset(made)


def _edges(samples: list[NDArray[np.float64]], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of bins that hold nearly all of every sample that is not far away."""
    low, high = np.quantile(_finite(known), [0.002, 0.998])
    reach = _FARTHEST * (high - low) or 0.5
    ends = np.array(
        [np.quantile(_finite(each), [0.002, 0.998]) for each in samples if np.isfinite(each).any()]
    )
    left, right = max(ends[:, 0].min(), low - reach), min(ends[:, 1].max(), high + reach)
    margin = 0.05 * (right - left) or 0.5
    n_bins = int(np.clip(len(known) // _BIN_SHOWERS, *_N_BINS))
    return np.linspace(left - margin, right + margin, n_bins + 1)


def _histograms(numbers: xr.Dataset, edges: Mapping[str, NDArray[np.float64]]) -> xr.Dataset:
    """Return the part of the showers in each bin; those outside all bins count in the outermost."""
    made: dict[str, Any] = {}
    for name, bins in edges.items():
        values = _finite(numbers[name].values)
        counts = np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0]
        share, error = fraction(counts, max(len(values), 1))
        about = {"units": "1", "long_name": "Part of the showers"}
        made[f"{name}_share"] = (f"{name}_bin", share, about)
        made[f"{name}_share_error"] = (f"{name}_bin", error, about)
    return xr.Dataset(made)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]
