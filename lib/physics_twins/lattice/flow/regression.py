"""Fit the velocity to fields of the whole path, as one problem of least squares.

If a velocity moves the densities exp(-S_t) / Z_t into one another, then at all times and for all fields

    div v - v . grad S_t = dS_t/dt - <dS_t/dt>

(the continuity equation; Mate and Fleuret 2023, arXiv 2301.07388; Albergo and Vanden-Eijnden 2024,
arXiv 2410.02711). Its left side is linear in the weights: given fields of every theory on the path,
which the cluster draws quickly, the best weights are found at once. The variance that is left,
integrated over the path, bounds that of the logarithms of the fields' weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physics_twins.lattice.flow.kinds import AnyPath, AnyVelocity
from physics_twins.lattice.flow.velocity import polynomials
from physics_twins.lattice.simulate import simulate

_N_ENERGY = 256  # fields that the mean square of the velocity is taken of


@dataclass(frozen=True)
class Slice:
    """What least squares need of the fields at one time.

    Attributes:
        time: From 0 to 1.
        weight: Of the slice in an integral over time.
        design: What each weight adds to the left side, (field, function * kernel).
        asked: The right side, (field,).
        energy: Mean square of the velocity, summed over sites, as a form of two sets of weights.
    """

    time: float
    weight: float
    design: Tensor
    asked: Tensor
    energy: Tensor


def times(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times on the path and their weights, for an integral over it (Gauss and Legendre)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (1 + nodes) / 2, weights / 2


def draw(path: AnyPath, time: float, n: int, *, seed: int) -> Tensor:
    """Return fields of the theory at a time by the best classical sampler, in the path's layout."""
    parameters = path.parameters(time, n_measurements=n, n_kept=n, interval=4)
    fields = simulate(parameters, seed=seed)["field"].values[0]
    return path.from_space(fields)


def slice_at(velocity: AnyVelocity, fields: Tensor, time: float, weight: float) -> Slice:
    """Return what least squares need of fields at a time."""
    path = velocity.path
    parts = [velocity.design(each, path.gradient(each, time)) for each in fields.split(path.chunk)]
    rates = path.rate(fields, time)
    return Slice(
        time, weight, torch.cat(parts), rates - rates.mean(), velocity.energy(fields[:_N_ENERGY])
    )


def solve(velocity: AnyVelocity, slices: Sequence[Slice], *, ridge: float) -> Tensor:
    """Return the weights that fit all slices best, in the form of `Velocity.weights`.

    Args:
        velocity: Whose functions the slices were made with.
        slices: At several times.
        ridge: Penalty on the velocity's mean square, summed over sites and integrated over time.
    """
    n_times, n_weights = velocity.sizes.n_times, slices[0].design.shape[1]
    normal = torch.zeros(n_times * n_weights, n_times * n_weights, dtype=torch.float64)
    right = torch.zeros(n_times * n_weights, dtype=torch.float64)
    for each in slices:
        basis = polynomials(each.time, n_times)
        design = each.design - each.design.mean(0)
        form = design.T @ design / len(design) + ridge * each.energy
        normal += torch.kron(each.weight * torch.outer(basis, basis), form)
        right += torch.kron(each.weight * basis, design.T @ each.asked / len(design))
    return solved(normal, right).reshape(velocity.weights.shape)


def solved(normal: Tensor, right: Tensor) -> Tensor:
    """Return what solves normal equations, those of weights that do next to nothing left out."""
    scale = normal.diagonal().sqrt() + 1e-300
    scaled = normal / scale[:, None] / scale
    scaled.diagonal().add_(1e-9)
    return torch.linalg.solve(scaled, right / scale) / scale
