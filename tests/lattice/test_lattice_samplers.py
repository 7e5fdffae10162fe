"""Every sampler draws from the distribution that the theory has, and a seed says all about it."""

import numpy as np
import pytest
import xarray as xr
from units import check_units

from physics_twins import clusters
from physics_twins.data import open_dataset, save
from physics_twins.lattice import exact
from physics_twins.lattice.errors import measured
from physics_twins.lattice.parameters import SAMPLERS, LatticeParameters
from physics_twins.lattice.simulate import simulate

SMALL = {
    "phi4": LatticeParameters(side=6, n_measurements=50, n_warmup=100, n_kept=2),
    "u1": LatticeParameters(theory="u1", side=4, n_measurements=50, n_warmup=100),
    "su2": LatticeParameters(theory="su2", side=2, n_dimensions=4, n_measurements=10, n_warmup=100),
    "su3": LatticeParameters(theory="su3", side=3, n_measurements=10, n_warmup=100),
}
LIMIT = 5.0  # standard errors; seeds are fixed


def distance(name: str, truth: float, **values) -> float:
    """How many standard errors a measured value is from the true one; it must be fit to be quoted."""
    found = measured(simulate(LatticeParameters(n_kept=0, **values), seed=11))[name]
    assert found.reason == ""
    return abs(found.estimate.value - truth) / found.estimate.error


# Against exact values


@pytest.mark.parametrize("sampler", SAMPLERS["phi4"])
def test_a_free_field_fluctuates_as_its_propagator_says(sampler):
    free = {"side": 4, "mass2": 1.0, "quartic": 0.0, "sampler": sampler, "n_measurements": 20_000}
    assert distance("phi2", exact.free_phi2(1.0, (4, 4)), **free) < LIMIT
    assert distance("susceptibility", exact.free_susceptibility(1.0), **free) < LIMIT


@pytest.mark.parametrize("sampler", SAMPLERS["u1"])
def test_u1_has_its_exact_plaquette_and_charge(sampler):
    values = {"theory": "u1", "side": 4, "beta": 3.0, "sampler": sampler, "n_measurements": 20_000}
    assert distance("plaquette", exact.plaquette("u1", 3.0, 16), **values) < LIMIT
    assert distance("charge_squared", exact.charge_squared(3.0, 16), **values) < LIMIT


@pytest.mark.parametrize("sampler", ["hmc", "metropolis", "heatbath"])
def test_c_periodic_u1_has_the_exact_plaquette_which_is_not_the_periodic_one(sampler):
    values = {"theory": "u1", "side": 4, "beta": 3.0, "n_c_directions": 1, "sampler": sampler}
    truth = exact.plaquette("u1", 3.0, 16, c_periodic=True)
    assert distance("plaquette", truth, n_measurements=20_000, **values) < LIMIT
    if sampler == "heatbath":
        assert (
            distance("plaquette", exact.plaquette("u1", 3.0, 16), n_measurements=20_000, **values) > 7
        )


@pytest.mark.parametrize("theory", ["su2", "su3"])
@pytest.mark.parametrize("sampler", SAMPLERS["su2"])
def test_sun_in_two_dimensions_has_its_exact_plaquette(theory, sampler):
    values = {"theory": theory, "side": 3, "beta": 2.2, "sampler": sampler, "n_measurements": 1500}
    assert distance("plaquette", exact.plaquette(theory, 2.2, 9), **values) < LIMIT


@pytest.mark.parametrize("theory", ["su2", "su3"])
def test_sun_on_the_smallest_c_periodic_lattice_has_its_exact_plaquette(theory):
    truth = exact.plaquette(theory, 3.0, 4, c_periodic=True)
    values = {"theory": theory, "side": 2, "beta": 3.0, "n_c_directions": 1, "n_overrelaxations": 1}
    assert distance("plaquette", truth, n_measurements=4000, **values) < LIMIT


# Against each other


def test_samplers_of_phi4_agree_where_nothing_is_exact():
    values = {"side": 6, "quartic": 6.975, "n_measurements": 40_000, "n_kept": 0}
    found = [
        measured(simulate(LatticeParameters(sampler=sampler, **values), seed=3))[
            "susceptibility"
        ].estimate
        for sampler in SAMPLERS["phi4"]
    ]
    # 1.070 +- 0.004: another program, at this coupling.
    for each in found:
        assert abs(each.value - 1.070) < LIMIT * np.hypot(each.error, 0.004)
        assert abs(each.value - found[0].value) <= LIMIT * np.hypot(each.error, found[0].error)


def test_heat_bath_and_hmc_agree_on_a_four_dimensional_lattice():
    values = {"theory": "su2", "side": 2, "n_dimensions": 4, "beta": 2.0, "n_measurements": 1000}
    found = [
        measured(simulate(LatticeParameters(sampler=sampler, n_c_directions=2, **values), seed=3))[
            "plaquette"
        ]
        for sampler in ("heatbath", "hmc")
    ]
    first, second = (each.estimate for each in found)
    assert abs(first.value - second.value) < LIMIT * np.hypot(first.error, second.error)


def test_a_sampler_whose_weights_are_two_per_cent_off_would_be_seen():
    values = {"theory": "u1", "side": 4, "sampler": "metropolis", "n_measurements": 20_000}
    truth = exact.plaquette("u1", 3.0, 16)
    assert distance("plaquette", truth, beta=3.0 * 1.02, **values) > LIMIT


# What a seed says


@pytest.mark.parametrize("theory", list(SMALL))
def test_the_same_seed_gives_the_same_chains_and_another_seed_others(theory):
    first = simulate(SMALL[theory], seed=7)
    xr.testing.assert_identical(simulate(SMALL[theory], seed=7), first)
    name = "phi2" if theory == "phi4" else "plaquette"
    assert not np.isin(simulate(SMALL[theory], seed=8)[name], first[name]).any()
    assert not np.isin(first[name][0], first[name][1]).any()


def test_a_chain_does_not_depend_on_how_many_there_are():
    two, three = (simulate(SMALL["phi4"].replace(n_chains=n), seed=7) for n in (2, 3))
    xr.testing.assert_identical(three.isel(chain=slice(0, 2)).drop_attrs(), two.drop_attrs())


def test_the_last_kept_field_is_the_one_that_was_measured_last():
    chains = simulate(SMALL["phi4"], seed=7)
    assert list(chains["kept"]) == [25, 50]
    means = chains["field"].mean(("t", "x")).sel(kept=50)
    np.testing.assert_allclose(means, chains["magnetisation"][:, -1])


def test_workers_make_the_same_chains():
    with clusters.connect("threads") as client:
        farmed = simulate(SMALL["phi4"], seed=7, client=client)
    xr.testing.assert_identical(farmed, simulate(SMALL["phi4"], seed=7))


@pytest.mark.parametrize("theory", list(SMALL))
def test_every_number_has_a_unit_and_survives_the_disk(theory, tmp_path):
    chains = simulate(SMALL[theory], seed=1)
    check_units(chains)
    read = open_dataset(save(chains, tmp_path / "chains.nc"))
    xr.testing.assert_equal(read, chains)


# Tuning


@pytest.mark.parametrize("beta", [1.0, 7.0])
def test_steps_are_tuned_until_most_trajectories_are_accepted(beta):
    parameters = LatticeParameters(theory="u1", beta=beta, sampler="hmc", n_chains=4, start="hot")
    found = simulate(parameters.replace(n_measurements=200), seed=2)
    assert (found["acceptance"] > 0.65).all()
    assert (found["setting"] < 30).all()
