"""Errors of chains whose autocorrelation is known, and what must not be quoted."""

import numpy as np
import pytest
from scipy.signal import lfilter

from physics_twins.lattice.errors import average, measured, sector_changes
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate


def autoregressive(n_chains: int, n: int, factor: float, seed: int) -> np.ndarray:
    """Chains x' = factor x + noise, (chain, n), of mean 0: tau is (1 + factor) / (1 - factor) / 2."""
    noise = np.random.default_rng(seed).normal(size=(n_chains, n + 1000))
    return lfilter([1.0], [1.0, -factor], noise, axis=1)[:, 1000:]


def test_the_autocorrelation_time_of_a_known_chain_is_found():
    found = average(autoregressive(4, 50_000, 0.9, seed=1))
    assert found.tau.value == pytest.approx(9.5, abs=5 * found.tau.error)
    assert found.tau.error < 0.5
    # The error of the mean of an AR(1) chain.
    assert found.estimate.error == pytest.approx(10 / np.sqrt(200_000), rel=0.1)


def test_intervals_cover_the_truth_as_often_as_they_claim():
    chains = autoregressive(200, 2000, 0.8, seed=2)
    covered = np.mean([average(each).estimate.covers(0.0) for each in chains])
    assert 0.68 - 5 * 0.033 < covered < 0.68 + 5 * 0.033
    naive = chains.std(axis=1) / np.sqrt(2000)
    assert np.mean(abs(chains.mean(axis=1)) < naive) < 0.4  # what forgets autocorrelation


def test_a_function_of_means_has_the_error_of_both():
    chains = autoregressive(1, 20_000, 0.0, seed=3)
    found = average(5 + chains, 5 + chains, of_means=lambda a, b: a / b)
    assert found.estimate.value == pytest.approx(1)
    assert found.estimate.error < 1e-9  # they move together


def test_a_chain_that_is_too_short_is_not_quoted():
    found = average(autoregressive(2, 400, 0.95, seed=4))
    assert "shorter than 50 autocorrelation times" in found.text
    assert average(autoregressive(2, 40_000, 0.95, seed=4)).reason == ""


def test_a_chain_that_never_moves_is_not_quoted():
    assert average(np.ones((2, 100))).text == "not quoted: all measurements are the same"


def test_frozen_topology_is_told_and_nothing_of_such_chains_is_quoted():
    parameters = LatticeParameters(theory="u1", side=16, beta=8.0, n_measurements=300, n_kept=0)
    frozen = simulate(parameters.replace(sampler="hmc"), seed=1)
    assert int(sector_changes(frozen).max()) < 20
    assert all("topology is frozen" in each.text for each in measured(frozen).values())
    moving = simulate(parameters, seed=1)
    assert int(sector_changes(moving).min()) > 50
    assert measured(moving)["charge_squared"].reason == ""
