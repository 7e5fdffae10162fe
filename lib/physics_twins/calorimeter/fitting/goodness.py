"""Whether a calibrated twin explains the showers that it was fitted to."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from physics_twins.calorimeter.fitting.maximum import Maximum, points
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import ShowerLikelihood
from physics_twins.calorimeter.flow.network import ShowerNetwork


def goodness(
    member: ShowerNetwork, measured: MeasuredShowers, drawn: MeasuredShowers, found: Maximum
) -> tuple[dict[str, float], xr.Dataset]:
    """Return how measured showers differ from those of the calibrated twin.

    Args:
        member: Of the flow; it says how likely showers are.
        measured: Those that were fitted.
        drawn: A shower of the calibrated twin for each of them, in the same order.
        found: The fit under this member.

    Returns:
        Probabilities of as large a difference by chance, for: `p_response`, the distribution of visible
        over incident energy (Kolmogorov and Smirnov); `p_depth` and `p_length`, where and how far along
        the beam the energy lies, and `p_likelihood`, how likely the division among layers is
        (Wilcoxon's test of the pairs); `p_value`, of the least of them, looked at four times. And the
        profile: mean part of a shower's energy in each layer, `measured` and `twin` (layer), their
        `difference` in standard errors.
    """
    with torch.no_grad():
        likely = [
            ShowerLikelihood(member, each).division_at(points(found.values, each, found.free)).numpy()
            for each in (measured, drawn)
        ]
    (depth, length), (twin_depth, twin_length) = _moments(measured), _moments(drawn)
    response: Any = stats.ks_2samp(measured.response.numpy(), drawn.response.numpy())
    found_p = {
        "p_response": float(response.pvalue),
        "p_depth": _of_pairs(depth, twin_depth),
        "p_length": _of_pairs(length, twin_length),
        "p_likelihood": _of_pairs(*likely),
    }
    least = min(1.0, len(found_p) * min(found_p.values()))
    return {**found_p, "p_value": least}, _profile(measured, drawn)


def _moments(showers: MeasuredShowers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the layer in which energy lies, each (shower,)."""
    shares = _shares(showers)
    place = np.arange(shares.shape[1])
    depth = shares @ place
    return depth, np.sqrt(np.maximum(shares @ place**2 - depth**2, 0.0))


def _shares(showers: MeasuredShowers) -> NDArray[np.float64]:
    return (showers.layers_mev / showers.layers_mev.sum(dim=1, keepdim=True)).numpy()


def _of_pairs(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the probability that pairs of showers of one particle differ so much by chance."""
    if not (first != second).any():
        return 1.0
    found: Any = stats.wilcoxon(first, second)
    return float(found.pvalue)


def _profile(measured: MeasuredShowers, drawn: MeasuredShowers) -> xr.Dataset:
    real, twin = _shares(measured), _shares(drawn)
    away = real - twin
    error = np.maximum(away.std(axis=0, ddof=1) / np.sqrt(len(away)), 1e-12)
    part = {"units": "1"}
    variables = {
        "measured": ("layer", real.mean(axis=0), {**part, "long_name": "Measured showers"}),
        "twin": ("layer", twin.mean(axis=0), {**part, "long_name": "The calibrated twin's showers"}),
        "error": ("layer", error, {**part, "long_name": "Standard error of their difference"}),
        "difference": (
            "layer",
            away.mean(axis=0) / error,
            {"units": "sigma", "long_name": "Measured less twin"},
        ),
    }
    layer = ("layer", np.arange(real.shape[1]), {"units": "1", "long_name": "Layer of cells"})
    return xr.Dataset(variables, {"layer": layer})
