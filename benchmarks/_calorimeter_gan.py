"""What 3DGAN costs, and whether its ONNX file gives the same energies; part of `calorimeter.py`.

Nothing here depends on what the networks have learnt. References are the published numbers of weights,
and what was measured of the public code.
"""

import time
from collections.abc import Callable
from functools import cache, partial

import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from _table import Figure, median_and_spread, this_machine
from physics_twins.calorimeter.gan import task
from physics_twins.calorimeter.gan.model import (
    ShowerGan,
    energy_sum_deviation,
    example_inputs,
    export_gan,
    new_networks,
)
from physics_twins.calorimeter.gan_parameters import FULL, GanParameters
from physics_twins.calorimeter.parameters import CalorimeterParameters

SEED = 85_000
N_LARGE, N_TIMINGS, N_TRAINED, N_COMPARED = 16, 5, 4, 16
_BATCH = 64


def weights() -> Figure:
    """Weights of the generator and of the discriminator; the references are the published ones."""
    networks = (_gan().networks.generator, _gan().networks.discriminator)
    counts = [float(sum(w.numel() for w in n.parameters())) for n in networks]
    return Figure(counts, None, "", "1364983, 87354", this_machine(), (SEED,))


def gflop() -> Figure:
    """Billions of additions and multiplications that both networks need for a shower.

    The references were counted in the same way in the public code.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as generating:
        images = _gan().networks.generator(example_inputs(_gan(), 1))
    with torch.no_grad(), FlopCounterMode(display=False) as judging:
        _gan().networks.discriminator(images)
    counts = [1e-9 * mode.get_total_flops() for mode in (generating, judging)]
    return Figure(counts, None, "GFLOP", "6.12, 3.79", this_machine(), (SEED,))


def generation_ms() -> Figure:
    """Time of one core for a shower: torch alone and 16 at once, onnxruntime alone and 16 at once.

    Geant4 needs 47 CPU-ms for a shower of 10 GeV in this calorimeter, and 465 for one of 100 GeV.
    """
    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    values, spreads = [], []
    for run in (_by_torch, lambda known: session.run(None, {name: known.numpy()})):
        for n in (1, N_LARGE):
            value, spread = _cpu_ms(partial(run, example_inputs(_gan(), n)), N_TIMINGS)
            values.append(value / n)
            spreads.append(spread / n)
    return Figure(values, spreads, "CPU-ms", "101-176, 135", this_machine(), (SEED,))


def training_cpu_s() -> Figure:
    """Time of one core for the four steps on a batch of 64 showers, from one of 4 times 16."""
    torch.set_num_threads(1)
    spent_ms = [_cpu_ms(_step, 1)[0] for _ in range(3)]
    value, spread = median_and_spread([1e-3 * ms * _BATCH / N_TRAINED for ms in spent_ms])
    return Figure(value, spread, "CPU-s", None, this_machine(), (SEED,))


def onnx_energy_sum() -> Figure:
    """Largest relative difference of a shower's sum of cells between onnxruntime and torch."""
    session = onnxruntime.InferenceSession(_onnx(), providers=["CPUExecutionProvider"])
    value = energy_sum_deviation(_gan(), session, n=N_COMPARED, seed=SEED)
    return Figure(value, None, "", 1e-6, this_machine(), (SEED,))


@cache
def _gan() -> ShowerGan:
    """Return untrained networks with the running statistics of a batch."""
    parameters, settings = CalorimeterParameters(**FULL), GanParameters()
    torch.manual_seed(SEED)
    networks = new_networks(parameters, settings)
    gan = ShowerGan(networks, parameters, settings)
    norms = [part for part in networks.modules() if isinstance(part, torch.nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        networks.train().discriminator(networks.generator(example_inputs(gan, 4, seed=SEED)))
    networks.eval()
    return gan


@cache
def _onnx() -> bytes:
    return export_gan(_gan())


def _by_torch(known: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return _gan().networks.generator(known)


def _step() -> None:
    """Do what a step of the training does, without the optimisers."""
    gan, settings = _gan(), GanParameters()
    known = example_inputs(gan, N_TRAINED, seed=SEED)
    truth = {"energy": known[:, 0], "angle": known[:, 1], "energy_sum": 100 * known[:, 0]}
    batch = truth | {"image": _by_torch(known)}
    modules = {"generator": gan.networks.generator, "discriminator": gan.networks.discriminator}
    for loss in (task.real_loss, task.fake_loss, task.generator_loss, task.generator_loss):
        loss(settings, modules, batch, 0)[0].backward()


def _cpu_ms(function: Callable[[], object], n: int) -> tuple[float, float]:
    """Return median and spread of the time in a core, after one call that is not counted."""
    if n > 1:
        function()
    spent_ms = []
    for _ in range(n):
        begun = time.process_time()
        function()
        spent_ms.append(1e3 * (time.process_time() - begun))
    return median_and_spread(spent_ms)


BENCHMARKS = {
    "gan_weights": weights,
    "gan_gflop": gflop,
    "gan_generation_ms": generation_ms,
    "gan_training_cpu_s": training_cpu_s,
    "gan_onnx_energy_sum": onnx_energy_sum,
}
