"""What an independent field of phi^4 costs by flows and classical samplers, training included.

Flows of three trainings at each side but the largest, which learn the path alone and update their
fields between its pieces: the cheapest training that there is. The flow of 64 x 64 is that which ships.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd

from _table import Figure, this_machine
from physics_twins import models
from physics_twins.data import bootstrap
from physics_twins.lattice.errors import Measured, measured
from physics_twins.lattice.evaluate import (
    acceptance,
    break_even,
    effective_sample_size,
    forward_sample_size,
)
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.flow_parameters import LINE, SHIPPED, FlowParameters
from physics_twins.lattice.infer import infer
from physics_twins.lattice.model import Flow, flow_of, load_flow
from physics_twins.lattice.parameters import Sampler
from physics_twins.lattice.train import train, untrained

SEED = 52_000
TRAINING_SEEDS = (1, 2, 3)
N_DRAWN = {8: 4000, 16: 2000, 32: 600, 64: 200}
N_COARSE = {8: 3000, 16: 1500}
QUICK = {"search": "tadpole", "apart": 1, "n_fields": 3000, "n_stages": 8, "n_validation": 10}


@cache
def trained(side: int, seed: int) -> tuple[Flow, float]:
    """Return a flow, and the CPU seconds of its training; of 64 x 64 the one that ships."""
    if side == 64:
        name = f"phi4-flow-{side}"
        return load_flow(name), models.find(name).manifest.metrics["train_cpu_s"].value
    settings = FlowParameters(side=side, quartic=LINE[side], **QUICK)
    start = time.process_time()
    learnt = train(None, settings, seed=seed, progress=False)
    seconds = time.process_time() - start
    steps = {"n_steps": settings.n_steps, "n_stages": settings.n_stages}
    return flow_of(learnt.modules["velocity"], **steps), seconds  # pyright: ignore[reportArgumentType]


@cache
def of_flow(side: int, seed: int) -> dict[str, float]:
    """Return what a flow reaches, and what its training and each of its fields cost."""
    flow, train_s = trained(side, seed)
    flow.propose(10, seed=1)
    start = time.process_time()
    chain = infer(flow, N_DRAWN[side], seed=SEED + 10 * side + seed)
    seconds = time.process_time() - start
    logs, told = chain["log_weight"].values[0], measured(chain)["susceptibility"]
    found = {"acceptance": acceptance(logs), "ess": effective_sample_size(logs), "train_s": train_s}
    return found | {"field_s": seconds / N_DRAWN[side] * 2 * told.tau.value}


def coarse_to_fine(side: int) -> Figure:
    """Print, of flows that begin at coarse fields beside the one that ships, what they reach and cost.

    The first moves no field. The second is the flow that ships, with its steps, fields and steps of
    natural gradient, but from coarse fields; the third is smaller and takes half the steps.
    """
    own: dict[str, Any] = {"side": side, "quartic": LINE[side], "prior": "coarse"}
    asked = {
        "no flow": FlowParameters(**own, n_steps=1, n_refinements=1),
        "as ships": FlowParameters(**{**SHIPPED[str(side)], **own}),
        "small": FlowParameters(**{**SHIPPED["coarse"], **own}),
    }
    rows = {}
    for name, settings in asked.items():
        start = time.process_time()
        flow = untrained(settings, seed=1)
        if name != "no flow":
            learnt = train(None, settings, seed=1, progress=False)
            velocity = learnt.modules["velocity"]
            flow = flow_of(velocity, n_steps=settings.n_steps)  # pyright: ignore[reportArgumentType]
        rows[name] = _reached(flow, side) | {"train_s": (time.process_time() - start, 0.0)}
    shipped = f"phi4-flow-{side}"
    train_s = models.find(shipped).manifest.metrics["train_cpu_s"].value
    rows["ships"] = _reached(load_flow(shipped), side) | {"train_s": (train_s, 0.0)}
    table = pd.DataFrame(rows)
    print(table.map(lambda pair: f"{pair[0]:.4g} +- {pair[1]:.1g}").to_string(), flush=True)
    values, errors = map(list, zip(*table.to_numpy().T.ravel(), strict=True))
    return Figure(values, errors, "", "the last: from free fields", this_machine(), (1, SEED))


def _reached(flow: Flow, side: int) -> dict[str, tuple[float, float]]:
    """Return acceptance, effective sample sizes, and CPU milliseconds of an independent field."""
    n, seed = N_COARSE[side], SEED + 100 * side
    flow.propose(10, seed=1)
    start = time.process_time()
    chain = infer(flow, n, seed=seed)
    field_ms = 1000 * (time.process_time() - start) / n
    logs, tau = chain["log_weight"].values[0], measured(chain)["susceptibility"].tau
    truth = draw(flow.path, 1.0, n, seed=seed + 1)
    forward = flow.weigh(truth, seed=seed + 2).numpy()
    return {
        "acceptance": bootstrap(acceptance, logs, seed=seed),
        "ess": bootstrap(effective_sample_size, logs, seed=seed),
        "ess_forward": bootstrap(forward_sample_size, forward, seed=seed),
        "independent_ms": (2 * tau.value * field_ms, 2 * tau.error * field_ms),
    }


def coupling_layers() -> Figure:
    """Affine layers, then splines, 8 x 8: acceptance, effective sample size; CPU seconds of training.

    Each trains about as long as the continuous flow of that lattice that ships.
    """
    found, seconds = [], []
    for kind in ("affine", "spline"):
        start = time.process_time()
        learnt = train(None, FlowParameters(preset=kind), seed=1, progress=False)
        seconds.append((time.process_time() - start, 0.0))
        flow = flow_of(learnt.modules["velocity"], n_steps=1)  # pyright: ignore[reportArgumentType]
        logs = flow.propose(4000, seed=SEED)[1].numpy()
        found += [
            bootstrap(statistic, logs, seed=SEED) for statistic in (acceptance, effective_sample_size)
        ]
    values, errors = map(list, zip(*found, *seconds, strict=True))
    return Figure(values, errors, "", "0.9883, 0.9995; 29 s: continuous", this_machine(), (1, SEED))


def gauge_layers() -> Figure:
    """Coupling layers of U(1) and SU(2) on 8 x 8, as they begin and trained.

    Beta is 2 and 2.2. Of each: acceptance and effective sample size before the training; both, that
    from fields of the theory, and the mean weight after it; its CPU seconds. Last acceptance and
    effective sample size of the continuous flow of SU(2) that ships.
    """
    found, statistics = [], (acceptance, effective_sample_size)
    for preset in ("u1-spline", "su2-spline"):
        settings, start = FlowParameters(preset=preset), time.process_time()
        learnt = train(None, settings, seed=1, progress=False)
        seconds = time.process_time() - start
        flow = flow_of(learnt.modules["velocity"], n_steps=1)  # pyright: ignore[reportArgumentType]
        for each in (untrained(settings, seed=1), flow):
            logs = each.propose(4000, seed=SEED)[1].numpy()
            found += [bootstrap(statistic, logs, seed=SEED) for statistic in statistics]
        truth = flow.weigh(draw(flow.path, 1.0, 4000, seed=SEED + 1), seed=SEED).numpy()
        found.append(bootstrap(forward_sample_size, truth, seed=SEED))
        weights = np.exp(logs - cast(GaugePath, flow.path).log_z)
        found += [(float(weights.mean()), float(weights.std() / 4000**0.5)), (seconds, 0.0)]
    logs = load_flow("su2-flow-8").propose(1000, seed=SEED)[1].numpy()
    found += [bootstrap(statistic, logs, seed=SEED) for statistic in statistics]
    values, errors = map(list, zip(*found, strict=True))
    return Figure(values, errors, "", "1; SU(2) continuous", this_machine(), (1, SEED))


def seeds_of(side: int) -> tuple[int, ...]:
    """Return the seeds of trainings at a side."""
    return TRAINING_SEEDS if side < 64 else TRAINING_SEEDS[:1]


def cost_table(classical: Callable[[int, Sampler], tuple[Measured, float]]) -> pd.DataFrame:
    """Return by side: figures of flows with their scatter, CPU seconds, and break-even numbers.

    Args:
        classical: Tells of side and sampler the susceptibility, and independent fields per CPU second.
    """
    rows: dict[str, dict[str, float]] = {}
    for side in LINE:
        flows = pd.DataFrame([of_flow(side, seed) for seed in seeds_of(side)])
        row = {str(name): float(mean) for name, mean in flows.mean().items()}
        row |= {f"{name} +-": float(scatter) for name, scatter in flows.std().items()}
        for sampler in ("cluster", "hmc", "metropolis"):
            told, rate = classical(side, sampler)
            row[f"{sampler}_s"] = np.nan if told.reason else 1 / rate
            row[f"after {sampler}"] = np.nan
            if not told.reason:
                row[f"after {sampler}"] = break_even(row["train_s"], 1 / row["field_s"], rate)
        rows[f"{side} x {side}"] = row
    return pd.DataFrame(rows)


def cost_curve(classical: Callable[[int, Sampler], tuple[Measured, float]]) -> Figure:
    """Print that table; return CPU seconds of an independent field: flow, cluster, HMC, Metropolis."""
    table = cost_table(classical)
    words = table.map(lambda x: "never" if np.isinf(x) else "not told" if np.isnan(x) else f"{x:.3g}")
    print(words.to_string(), flush=True)
    seconds = table.loc[["field_s", "cluster_s", "hmc_s", "metropolis_s"]].T.to_numpy().ravel()
    return Figure(seconds.tolist(), None, "s", "the least", this_machine(), (SEED, *TRAINING_SEEDS))
