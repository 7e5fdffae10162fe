"""How much of what was put in the search finds: one simulated observation, searched and scored."""

from typing import Any

import numpy as np

from physics_twins.data import fraction, mean
from physics_twins.pulsar.evaluate import evaluate
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.simulate import simulate


def recovery(
    observation: ObservationParameters, search: SearchParameters, *, seed: int = 1
) -> dict[str, Any]:
    """Return how many simulated pulses a blind search finds, and how much of their S/N.

    Args:
        observation: What is simulated.
        search: How it is searched; it reads no file.
        seed: Seed of noise, pulses and interference.

    Returns:
        `n_sought`: pulses whose whole track lies inside the observation. `n_found` of them. `recall`,
        their ratio, with the error of `data.fraction`, which is not zero at the
        ends. `n_false`: pulses invented. `snr_ratio`: mean S/N found over the ideal one, with its
        standard error; boxcars reach 0.943 of a Gaussian pulse's at most. What nothing was found or
        sought for is not a number.

    Raises:
        ValueError: `search` names a file, whose pulses nobody knows.
    """
    if search.filterbank_path:
        raise ValueError("filterbank_path must be empty: what a real file holds is not known")
    truth = simulate(observation, seed=seed)
    scores = evaluate(truth, infer(search, truth))
    sought = scores["complete"].values
    snr = scores["snr"].values[sought]
    ratios = (snr / scores["pulse_snr_ideal"].values[sought])[np.isfinite(snr)]
    n, n_found = int(sought.sum()), len(ratios)
    metrics: dict[str, Any] = {"n_sought": n, "n_found": n_found, "n_false": int(scores["n_false"])}
    told = {"recall": fraction(n_found, n), "snr_ratio": mean(ratios)}
    for name, (value, error) in told.items():
        metrics[name] = {"value": value, "error": error}
    return metrics
