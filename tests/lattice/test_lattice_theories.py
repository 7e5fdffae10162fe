"""Actions, forces and exact values: laws that hold for every field."""

import numpy as np
import pytest

from physics_twins.lattice import abelian, exact, gauge, scalar
from physics_twins.lattice.geometry import crossings, neighbours
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.parameters import ParameterError

RNG = np.random.default_rng(5)
STEP = 1e-5  # of finite differences, whose error is its square


def hot(**values) -> tuple[LatticeParameters, np.ndarray]:
    """Parameters of a small lattice and a field of noise on it."""
    parameters = LatticeParameters(start="hot", **values)
    module = {"phi4": scalar, "u1": abelian}.get(parameters.theory, gauge)
    return parameters, module.start(parameters, RNG)


def gauge_places(parameters):
    crossed = crossings(parameters.shape, parameters.n_c_directions)
    return neighbours(parameters.shape), crossed, gauge.colours_of(parameters.theory)


def gauge_action(links, parameters):
    return -parameters.beta * gauge.plaquette_sums(links, *gauge_places(parameters)).sum()


# The scalar field


@pytest.mark.parametrize("n_dimensions", [1, 2, 3, 4])
def test_action_of_phi4_is_the_sum_that_its_definition_says(n_dimensions):
    parameters, phi = hot(n_dimensions=n_dimensions, side=3, n_time=4, mass2=-1.5)
    field = phi.reshape(parameters.shape)
    laplace = sum(np.roll(field, by, axis) - field for axis in range(n_dimensions) for by in (1, -1))
    whole = np.sum(field * -laplace + parameters.mass2 * field**2 + parameters.quartic * field**4)
    hop, _, mass2, quartic = scalar.tables(parameters)
    assert scalar.action(phi, hop, mass2, quartic) == pytest.approx(whole, rel=1e-12)


def test_force_of_phi4_is_minus_the_slope_of_its_action():
    parameters, phi = hot(n_dimensions=3, side=3)
    hop, _, mass2, quartic = scalar.tables(parameters)
    force = np.zeros_like(phi)
    scalar.kick(phi, force, hop, mass2, quartic, 1.0)
    for x in (0, 7, 20):
        high, low = phi.copy(), phi.copy()
        high[x] += STEP
        low[x] -= STEP
        slope = scalar.action(high, hop, mass2, quartic) - scalar.action(low, hop, mass2, quartic)
        assert force[x] == pytest.approx(-slope / (2 * STEP), rel=1e-6)


# The gauge field U(1)


@pytest.mark.parametrize("n_c_directions", [0, 1])
def test_force_of_u1_is_minus_the_slope_of_its_action(n_c_directions):
    parameters, links = hot(theory="u1", side=3, n_c_directions=n_c_directions)
    hop, signs, _, _, beta, _ = abelian.tables(parameters)
    force = np.zeros_like(links)
    abelian.kick(links, force, hop, signs, beta, 1.0)
    for place in np.ndindex(links.shape):
        high, low = links.copy(), links.copy()
        high[place] += STEP
        low[place] -= STEP
        slope = abelian.action(high, hop, signs, beta) - abelian.action(low, hop, signs, beta)
        assert force[place] == pytest.approx(-slope / (2 * STEP), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("n_c_directions", [0, 1])
def test_action_of_u1_does_not_see_a_change_of_gauge(n_c_directions):
    parameters, links = hot(theory="u1", side=4, n_c_directions=n_c_directions)
    hop, signs, _, _, beta, _ = abelian.tables(parameters)
    turn = RNG.uniform(-np.pi, np.pi, len(links))
    turned = links + turn[:, None] - signs[:, :2] * turn[hop[:, :2]]
    before, after = (abelian.action(each, hop, signs, beta) for each in (links, turned))
    assert after == pytest.approx(before, rel=1e-12)


def test_one_flux_spreads_a_charge_of_one_evenly():
    parameters = LatticeParameters(theory="u1", side=5, n_time=4)
    hop, signs, flux, _, _, _ = abelian.tables(parameters)
    fluxes = [abelian.angle(flux, hop, signs, x) for x in range(20)]
    folded = np.remainder(np.array(fluxes) + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(folded, 2 * np.pi / 20, rtol=1e-12)


@pytest.mark.parametrize("corner", [0, 17, 35])
def test_a_winding_step_puts_a_charge_of_one_around_a_square_and_takes_it_away(corner):
    parameters = LatticeParameters(theory="u1", side=6, start="hot")
    hop, signs, *_ = abelian.tables(parameters)
    links = np.zeros((36, 2))
    abelian.turn_square(links, hop, corner, 3, 1.0)
    fluxes = [abelian.angle(links, hop, signs, x) for x in range(36)]
    folded = (np.remainder(np.array(fluxes) + np.pi, 2 * np.pi) - np.pi) / (2 * np.pi)
    # Twelve plaquettes along the four sides, each with as much; all others keep what they had.
    assert sorted(folded) == pytest.approx(sorted([1 / 12] * 12 + [0] * 24), abs=1e-12)
    abelian.turn_square(links, hop, corner, 3, -1.0)
    np.testing.assert_allclose(links, 0, atol=1e-12)


# The gauge fields SU(2) and SU(3)


@pytest.mark.parametrize("theory", ["su2", "su3"])
@pytest.mark.parametrize(("n_dimensions", "n_c_directions"), [(2, 1), (4, 0), (4, 3)])
def test_action_of_sun_does_not_see_a_change_of_gauge(theory, n_dimensions, n_c_directions):
    parameters, links = hot(
        theory=theory, side=2, n_time=3, n_dimensions=n_dimensions, n_c_directions=n_c_directions
    )
    turn = gauge.start(parameters, RNG)[:, 0]
    hop, crossed, _ = gauge_places(parameters)
    ahead = turn[hop[:, :n_dimensions]]
    ahead = np.where(crossed[:, :n_dimensions, None, None], ahead.conj(), ahead)
    turned = turn[:, None] @ links @ np.conj(np.swapaxes(ahead, -1, -2))
    assert gauge_action(turned, parameters) == pytest.approx(
        gauge_action(links, parameters), rel=1e-11, abs=1e-10
    )


@pytest.mark.parametrize(("theory", "n_c_directions"), [("su2", 0), ("su3", 0), ("su3", 2)])
def test_force_of_sun_is_the_slope_of_its_action_along_each_generator(theory, n_c_directions):
    parameters, links = hot(theory=theory, side=2, n_dimensions=4, n_c_directions=n_c_directions)
    hop, crossed, colours = gauge_places(parameters)
    force = np.zeros_like(links)
    gauge.kick(links, force, hop, crossed, parameters.beta, 1.0, colours)
    along = np.zeros_like(links)
    for x, mu in ((0, 0), (5, 2), (15, 3)):
        along[x, mu] = 1j * np.diag([1.0, -1.0, 0.0][: len(colours)])
        along[x, mu, 0, 1], along[x, mu, 1, 0] = 0.3 + 0.2j, -0.3 + 0.2j
    high, low = links.copy(), links.copy()
    gauge.drift(high, along, STEP, colours)
    gauge.drift(low, along, -STEP, colours)
    slope = (gauge_action(high, parameters) - gauge_action(low, parameters)) / (2 * STEP)
    # The kinetic energy is minus tr(momentum^2): its change along the force undoes the action's.
    gained = -2 * np.einsum("xmij,xmji->", along, force).real
    assert gained == pytest.approx(-slope, rel=1e-6)


@pytest.mark.parametrize("theory", ["su2", "su3"])
def test_links_stay_in_their_group(theory):
    parameters, links = hot(theory=theory, side=3)
    series = np.empty((20, len(gauge.OBSERVABLES)))
    gauge.run(links, *gauge.tables(parameters), 2, 0.0, 1.0, 1, np.random.default_rng(1), series)
    unit = np.eye(links.shape[-1])
    np.testing.assert_allclose(
        links @ np.conj(np.swapaxes(links, -1, -2)), unit + 0 * links, atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(links), 1, atol=1e-12)


def test_a_trajectory_run_backwards_ends_where_it_began():
    parameters, links = hot(theory="su3", side=3, beta=5.0)
    hop, crossed, colours = gauge_places(parameters)
    began, momenta = links.copy(), np.empty_like(links)
    gauge.random_momenta(momenta, np.random.default_rng(3), colours)
    for _ in range(2):
        for _ in range(5):
            gauge.drift(links, momenta, 0.1, colours)
            gauge.kick(links, momenta, hop, crossed, 5.0, 0.2, colours)
            gauge.drift(links, momenta, 0.1, colours)
        momenta *= -1
    np.testing.assert_allclose(links, began, atol=1e-11)


# Exact values


def test_exact_plaquettes_in_an_endless_plane_are_those_of_the_literature():
    # Ratios of Bessel functions (Gross and Witten 1980); SU(3) as computed elsewhere.
    assert exact.plaquette("su2", 2.2) == pytest.approx(0.464479, abs=5e-7)
    found = [exact.plaquette("su3", beta) for beta in (3.0, 6.0, 9.0)]
    np.testing.assert_allclose(found, [0.203075, 0.422532, 0.580376], atol=5e-7)


def test_exact_plaquette_of_su3_is_an_average_over_the_group():
    # Weyl's measure on a grid of eigenvalues; it converges faster than any power.
    angles = 2 * np.pi * np.arange(120) / 120
    a, b = np.meshgrid(angles, angles)
    values = np.exp(1j * np.stack([a, b, -a - b]))
    measure = np.prod([abs(values[i] - values[j]) ** 2 for i, j in ((0, 1), (0, 2), (1, 2))], axis=0)
    trace = values.sum(0).real / 3
    weight = measure * np.exp(6.0 * trace)
    assert exact.plaquette("su3", 6.0) == pytest.approx((weight * trace).sum() / weight.sum(), abs=1e-8)


def test_charge_and_plaquette_of_u1_at_beta_7_are_the_published_ones():
    assert exact.plaquette("u1", 7.0, 256) == pytest.approx(0.925532, abs=5e-7)
    assert exact.charge_squared(7.0, 256) == pytest.approx(1.0064, abs=5e-5)


def test_a_c_periodic_lattice_of_u1_has_the_plaquette_of_an_endless_one():
    assert exact.plaquette("u1", 3.0, 16, c_periodic=True) == pytest.approx(exact.plaquette("u1", 3.0))
    assert exact.plaquette("u1", 3.0, 16) > 1.005 * exact.plaquette("u1", 3.0)


# Parameters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"theory": "u1", "n_dimensions": 3}, "u1 is here in 2 dimensions"),
        ({"theory": "su3", "sampler": "cluster"}, "su3 has heatbath, hmc, metropolis"),
        ({"n_c_directions": 1}, "must be 0 for phi4"),
        ({"theory": "su2", "n_c_directions": 2}, "must be at most 1"),
        ({"theory": "u1", "n_c_directions": 1, "sampler": "winding"}, "there is no charge"),
        ({"quartic": 0.0}, "mass2 = -4 must be positive"),
        ({"n_kept": 20, "n_measurements": 10}, "more than n_measurements"),
        ({"n_time": 1}, "n_time = 1"),
    ],
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        LatticeParameters(**values)
