"""How good a flow is: its effective sample size from both sides, its acceptance, and what it costs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import bootstrap
from physics_twins.lattice import exact
from physics_twins.lattice.errors import effective_sample_size, measured
from physics_twins.lattice.flow.coarse_path import CoarsePath
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.flow.velocity import Velocity
from physics_twins.lattice.infer import infer
from physics_twins.lattice.model import Flow
from physics_twins.lattice.parameters import SAMPLERS
from physics_twins.lattice.simulate import simulate

METRICS: Mapping[str, tuple[str, str]] = {
    "acceptance": ("Acceptance", "1"),
    "ess": ("Effective sample size, fields of the flow", "1"),
    "ess_forward": ("Effective sample size, fields of the theory", "1"),
    "ess_annealed": ("Effective sample size with non-equilibrium steps", "1"),
    "ess_alone": ("Effective sample size without non-equilibrium steps", "1"),
    "susceptibility": ("Susceptibility", "1"),
    "plaquette": ("Plaquette", "1"),
    "charge_squared": ("Mean square of the charge", "1"),
    "independent_per_s": ("Independent fields per CPU second", "1/s"),
}
CLASSICAL = SAMPLERS["phi4"]
# What is compared; the last one's autocorrelation time is that of a sampler.
_COMPARED: Mapping[str, tuple[str, ...]] = {
    "phi4": ("susceptibility",),
    "u1": ("plaquette", "charge_squared"),
    "su2": ("plaquette",),
    "su3": ("plaquette",),
}
_N_STAGES = 8


def forward_sample_size(log_weights: NDArray[Any]) -> float:
    """Return it from fields of the theory itself, which sees what a flow never draws.

    >>> forward_sample_size(np.zeros(3))
    1.0
    """
    shifted = log_weights - log_weights.mean()
    return float(1 / (np.exp(shifted).mean() * np.exp(-shifted).mean()))


def acceptance(log_weights: NDArray[Any]) -> float:
    """Return the acceptance of a long independent chain: of all pairs, the smaller weight.

    >>> acceptance(np.zeros(5))
    1.0
    """
    weights = np.sort(np.exp(log_weights - log_weights.max()))
    n = len(weights)
    return float(weights @ (2 * n - 2 * np.arange(n) - 1) / (n * weights.sum()))


def evaluate(flow: Flow, *, n: int = 4000, seed: int) -> xr.Dataset:
    """Return a flow's figures, beside those of the classical samplers and the limit.

    Args:
        flow: Of any theory.
        n: Fields of the flow, and of the best classical sampler.
        seed: Of all fields; another one than that of the training.

    Returns:
        `value` and `error` (who, metric), for `figures.table`; no number where a chain was too short.
        Means of gauge fields have their exact values in the line of the limit.
    """
    values: dict[tuple[str, str], tuple[float, float]] = {}
    path = flow.path
    infer(flow, 10, seed=1)  # what is done once is not counted
    start = time.process_time()
    chain = infer(flow, n, seed=seed)
    seconds = time.process_time() - start
    logs = chain["log_weight"].values[0]
    truth = draw(path, 1.0, n, seed=seed + 1)
    forward = flow.weigh(truth, seed=seed + 3).numpy()
    told: list[tuple[str, Callable[..., float], NDArray[Any]]] = [
        ("acceptance", acceptance, logs),
        ("ess", effective_sample_size, logs),
        ("ess_forward", forward_sample_size, forward),
    ]
    if isinstance(flow.velocity, Velocity) and not isinstance(path, CoarsePath):
        name, n_stages = ("ess_annealed", _N_STAGES) if flow.n_stages == 1 else ("ess_alone", 1)
        other = replace(flow, n_stages=min(n_stages, flow.n_steps))
        logs = other.propose(max(n // 4, 10), seed=seed + 2)[1].numpy()
        told.append((name, effective_sample_size, logs))
    for name, statistic, data in told:
        values["flow", name] = bootstrap(statistic, data, seed=seed)
        values["limit", name] = (1.0, 0.0)
    known = exact.known(path.parameters(1.0))
    values |= {("limit", name): (known[name], 0.0) for name in _COMPARED[path.theory] if name in known}
    values |= _of_chain("flow", chain, seconds)
    for sampler in SAMPLERS[path.theory]:
        parameters = path.parameters(1.0, sampler=sampler, n_measurements=max(n, 2000), n_kept=0)
        simulate(parameters.replace(n_measurements=10, n_warmup=100), seed=1)  # nor here
        start = time.process_time()
        chains = simulate(parameters, seed=seed)
        values |= _of_chain(sampler, chains, time.process_time() - start)
    return _dataset(values, flow, n, seed)


def _of_chain(
    who: str, chain: xr.Dataset, seconds: float
) -> dict[tuple[str, str], tuple[float, float]]:
    means, names = measured(chain), _COMPARED[chain.attrs["theory"]]
    if any(means[name].reason for name in names):
        return {}
    tau = means[names[-1]].tau
    rate = chain.sizes["measurement"] / (2 * tau.value) / seconds
    estimates = {(who, name): means[name].estimate for name in names}
    found = {key: (each.value, each.error) for key, each in estimates.items()}
    return found | {(who, "independent_per_s"): (rate, rate * tau.error / tau.value)}


def _dataset(
    values: Mapping[tuple[str, str], tuple[float, float]], flow: Flow, n: int, seed: int
) -> xr.Dataset:
    names = [name for name in METRICS if any(name == told for _, told in values)]
    whose = ["flow", "limit", *SAMPLERS[flow.path.theory]]
    pairs = [[values.get((who, name), (np.nan, np.nan)) for name in names] for who in whose]
    both = np.array(pairs, dtype=float)
    title = f"A flow on {' x '.join(map(str, flow.path.shape))}"
    return xr.Dataset(
        {"value": (("who", "metric"), both[..., 0]), "error": (("who", "metric"), both[..., 1])},
        {
            "who": whose,
            "metric": names,
            "title": ("metric", [METRICS[name][0] for name in names]),
            "unit": ("metric", [METRICS[name][1] for name in names]),
        },
        {"title": title, "n": n, "seed": seed, "model": flow.address},
    )


def costs(found: Mapping[int, xr.Dataset], train_s: Mapping[int, float]) -> xr.Dataset:
    """Return what an independent field costs by side, and after how many the flow has paid off.

    Args:
        found: By side, from `evaluate`.
        train_s: By side, CPU seconds of the flow's training.

    Returns:
        `seconds` and `error` (who, side), no number where a chain was too short; `train_s` (side);
        `break_even` (other, side), endless where the flow never pays off.
    """
    sides, whose = list(found), ["flow", *CLASSICAL]
    rates = np.array(
        [
            [
                [float(found[side][name].sel(who=who, metric="independent_per_s")) for side in sides]
                for who in whose
            ]
            for name in ("value", "error")
        ]
    )
    paid = [
        [break_even(train_s[s], rates[0, 0, n], rates[0, k, n]) for n, s in enumerate(sides)]
        for k in range(1, len(whose))
    ]
    second = {"units": "s", "long_name": "CPU time of an independent field"}
    return xr.Dataset(
        {
            "seconds": (("who", "side"), 1 / rates[0], second),
            "error": (("who", "side"), rates[1] / rates[0] ** 2, {"units": "s"}),
            "train_s": ("side", [train_s[s] for s in sides], {"units": "s"}),
            "break_even": (("other", "side"), paid, {"units": "1"}),
        },
        {
            "who": whose,
            "other": list(CLASSICAL),
            "side": ("side", sides, {"units": "1", "long_name": "Side of the lattice"}),
        },
    )


def paid_off(costs: xr.Dataset) -> pd.DataFrame:
    """Return in words, by sampler and side, after how many fields the flow has paid off."""

    def words(number: float) -> str:
        if np.isnan(number):
            return "too short to tell"
        return f"{number:.3g}" if np.isfinite(number) else "never"

    columns = {
        f"{side} x {side}": [words(float(n)) for n in costs["break_even"].sel(side=side).values]
        for side in costs["side"].values
    }
    return pd.DataFrame(columns, index=list(costs["other"].values))


def card_metrics(metrics: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return the flow's figures with errors, and limits, for a model's card."""
    found = {}
    for name in map(str, metrics["metric"].values):
        told, limit = (metrics.sel(who=who, metric=name) for who in ("flow", "limit"))
        if np.isfinite(told["value"]):
            found[name] = {"value": float(told["value"]), "error": float(told["error"])}
            if np.isfinite(limit["value"]):
                found[name]["limit"] = float(limit["value"])
    return found


def break_even(train_s: float, rate: float, other_rate: float) -> float:
    """Return after how many independent fields a flow has cost less than another sampler.

    Args:
        train_s: CPU seconds of the training.
        rate: Independent fields of the flow per CPU second.
        other_rate: Those of the other sampler.

    Returns:
        A number of fields; infinite where that is never.

    >>> break_even(100.0, 20.0, 10.0), break_even(100.0, 10.0, 20.0)
    (2000.0, inf)
    """
    if np.isnan(rate) or np.isnan(other_rate):
        return float("nan")
    return train_s / (1 / other_rate - 1 / rate) if rate > other_rate else float("inf")
