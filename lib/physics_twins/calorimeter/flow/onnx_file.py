"""A member of the flow as an ONNX file that gives the same energies as torch, or none.

Cells are not compared one by one: where a random number lies within rounding of a decision, two
programs may decide differently, and a shower's cells then differ while its energy does not.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physics_twins import models
from physics_twins.calorimeter import draw_onnx
from physics_twins.calorimeter.flow import graph
from physics_twins.calorimeter.flow.network import ShowerNetwork

if TYPE_CHECKING:
    import onnxruntime

TOLERANCE = 1e-6
N_COMPARED = 16


def export(network: ShowerNetwork) -> tuple[bytes, dict[str, Any]]:
    """Return a network as an ONNX file, and what comparing its energy sums with torch's gave.

    Its inputs and outputs are those of `draw_onnx`.

    Raises:
        ModelError: It cannot be exported, or deviates by more than `TOLERANCE`.
    """
    module = graph.ShowerGraph(network).eval()
    return models.export_onnx(
        module,
        _inputs(2, seed=0),
        deviation=partial(energy_sum_deviation, network),
        compared="energy of a shower",
        tolerance=TOLERANCE,
    )


def energy_sum_deviation(
    network: ShowerNetwork,
    session: "onnxruntime.InferenceSession",
    *,
    n: int = N_COMPARED,
    seed: int = 1,
) -> float:
    """Return by how much sums of cells differ between ONNX and torch, relative, at most of n showers.

    Args:
        network: The member.
        session: Of its ONNX file.
        n: Number of showers, from 1 to 100 GeV.
        seed: Of their random numbers.
    """
    inputs = _inputs(n, seed=seed)
    with torch.no_grad():
        expected = graph.ShowerGraph(network).eval()(*inputs).double().sum(dim=(1, 2, 3)).numpy()
    found = draw_onnx.run(session, *(each.numpy() for each in inputs))
    sums = found.sum(axis=(1, 2, 3), dtype=float)
    return float(np.abs(sums / expected - 1).max())


def _inputs(n: int, *, seed: int) -> tuple[torch.Tensor, ...]:
    uniforms = draw_onnx.uniforms(n, graph.N_UNIFORMS, seed=seed)
    energy, theta = np.geomspace(1, 100, n), np.linspace(0, 30, n)
    columns = (energy, theta, np.linspace(1.2, 1.6, n), uniforms)
    return tuple(torch.from_numpy(np.asarray(each, dtype=np.float32)) for each in columns)
