"""Loops, correlations and the gradient flow obey the laws that they must."""

import math

import numpy as np
import pytest
import xarray as xr

from physics_twins.data import find_data_file
from physics_twins.lattice import exact, files, gauge
from physics_twins.lattice.errors import average
from physics_twins.lattice.geometry import neighbours
from physics_twins.lattice.gradient_flow import clover, gradient_flow
from physics_twins.lattice.loops import creutz_ratios, two_point, wilson_loops
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate

COLOURS = (0.0,) * 3


def chains(**values) -> xr.Dataset:
    kept = {"n_measurements": 1000, "n_kept": 1000, "n_chains": 1, "interval": 2}
    return simulate(LatticeParameters(**(kept | values)), seed=5)


def links_by_chance(side=4) -> np.ndarray:
    rng = np.random.default_rng(1)
    links = rng.normal(size=(side**4, 4, 3, 3)) + 1j * rng.normal(size=(side**4, 4, 3, 3))
    gauge.repair(links, COLOURS)
    return links


def flux(n_first: int, n_second: int, side: int = 6) -> np.ndarray:
    """Links diag(z, 1/z, 1) with so many turns of flux in the planes 01 and 23."""
    t, x, y, z = np.indices((side,) * 4)
    density = 2 * np.pi / side**2
    angles = np.zeros((side,) * 4 + (4,))
    for n, along, across, first in ((n_first, t, x, 0), (n_second, y, z, 2)):
        angles[..., first] = -density * n * across
        angles[..., first + 1] = np.where(across == side - 1, density * n * side * along, 0)
    links = np.zeros((side**4, 4, 3, 3), dtype=complex)
    for row, sign in ((0, 1), (1, -1)):
        links[..., row, row] = np.exp(1j * sign * angles.reshape(-1, 4))
    links[..., 2, 2] = 1
    return links


# Loops


@pytest.mark.parametrize("theory", ["u1", "su2"])
def test_loops_of_two_dimensions_obey_the_area_law(theory):
    found = chains(theory=theory, side=12, beta=2.2)
    loops = wilson_loops(found["field"], 3)
    p = exact.plaquette(theory, 2.2, 144)  # 144 sites are endless for a plaquette of 0.5
    for t, r in ((1, 1), (1, 2), (2, 2), (3, 2)):
        told = average(loops.sel(time_extent=t, space_extent=r).values).estimate
        assert abs(told.value - p ** (t * r)) < 5 * told.error
        assert told.error < 0.02
    ratios = creutz_ratios(loops).sel(time_extent=2, space_extent=2)
    assert abs(float(ratios["value"]) + math.log(p)) < 5 * float(ratios["error"])


def test_the_smallest_loop_is_the_plaquette_of_the_file():
    path = find_data_file("lattice/lat.sample.l4444")
    if path is None:
        pytest.skip("there is no lattice/lat.sample.l4444: set PHYSICS_TWINS_DATA")
    read = files.read(path)
    loops = wilson_loops(read["field"], 2)
    assert float(loops[0, 0, 0, 0]) == pytest.approx(float(read["plaquette_time"]), abs=1e-12)


def test_a_loop_knows_which_side_is_time():
    """Of one configuration by chance, turned so that time and x change places."""
    field = chains(theory="su2", side=6, n_measurements=10, n_kept=1)["field"]
    turned = field.rename(t="x", x="t").isel(direction=[1, 0])
    loops, other = wilson_loops(field, 3), wilson_loops(turned, 3)
    assert float(abs(loops - loops.values.swapaxes(-1, -2)).max()) > 1e-3
    np.testing.assert_allclose(other.values, loops.values.swapaxes(-1, -2), atol=1e-12)


def test_loops_of_a_scalar_field_and_loops_too_large_are_refused():
    field = chains(side=6, n_measurements=10, n_kept=1)["field"]
    with pytest.raises(ValueError, match="loops are made of links, and the field has none"):
        wilson_loops(field, 2)
    with pytest.raises(ValueError, match="largest = 4 must be from 1 to 3"):
        wilson_loops(chains(theory="u1", side=6, n_measurements=10, n_kept=1)["field"], 4)


def test_time_slices_of_a_free_field_are_correlated_as_its_propagator_says():
    found = chains(side=8, mass2=0.5, quartic=0.0, n_measurements=4000, n_kept=4000)
    correlation = two_point(found["field"])
    momenta = 2 * np.pi * np.arange(8) / 8
    propagator = 1 / (2 * (4 * np.sin(momenta / 2) ** 2 + 0.5))
    for distance in range(5):
        truth = np.mean(propagator * np.cos(momenta * distance))
        told = average(correlation.sel(distance=distance).values).estimate
        assert abs(told.value - truth) < 5 * told.error


# The gradient flow


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 1), (-1, 2)])
def test_constant_flux_has_the_charge_that_its_turns_say(first, second):
    side = 6
    energy, charge = clover(flux(first, second, side), neighbours((side,) * 4), COLOURS)
    sines = [math.sin(2 * math.pi * n / side**2) for n in (first, second)]
    # Two colours carry it; the clover takes sines of angles.
    assert charge == pytest.approx(2 * sines[0] * sines[1] * side**4 / (2 * math.pi) ** 2)
    assert round(charge) == 2 * first * second
    assert energy == pytest.approx(2 * (sines[0] ** 2 + sines[1] ** 2))


def test_energy_and_charge_do_not_depend_on_the_gauge():
    links, hop = links_by_chance(), neighbours((4,) * 4)
    turns = links_by_chance()[:, 0]
    turned = links.copy()
    for mu in range(4):
        ahead = np.conj(np.swapaxes(turns[hop[:, mu]], -1, -2))
        turned[:, mu] = turns @ links[:, mu] @ ahead
    assert not np.allclose(turned, links)
    np.testing.assert_allclose(clover(turned, hop, COLOURS), clover(links, hop, COLOURS))


def test_the_flow_smooths_and_its_error_grows_with_the_third_power_of_the_step():
    field = chains(
        theory="su3", n_dimensions=4, side=4, beta=6.0, n_warmup=100, n_measurements=10, n_kept=1
    )["field"]
    fine, half, whole = (
        gradient_flow(field, longest=0.4, step=step, every=round(0.2 / step))
        for step in (0.0125, 0.05, 0.1)
    )
    assert (fine["energy"].diff("flow_time") < 0).all()
    errors = [float(abs(each["energy"] - fine["energy"])[-1]) for each in (half, whole)]
    assert 5 < errors[1] / errors[0] < 12


def test_t0_is_where_the_energy_says_and_none_where_the_flow_is_short():
    field = chains(
        theory="su3", n_dimensions=4, side=4, beta=5.0, n_warmup=100, n_measurements=10, n_kept=1
    )["field"]
    found = gradient_flow(field, longest=3.0, step=0.05, every=2)
    at = float(np.interp(found["t0"], found["flow_time"], found["t2_energy"]))
    assert at == pytest.approx(0.3)
    assert math.isnan(float(gradient_flow(field, longest=0.2, step=0.05)["t0"]))


def test_a_field_without_four_directions_is_refused():
    field = chains(theory="su2", side=4, n_measurements=10, n_kept=1)["field"]
    with pytest.raises(ValueError, match="four dimensions are needed"):
        gradient_flow(field)
