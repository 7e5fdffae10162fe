"""The parametrised baseline: its own laws, and how close it comes to Geant4."""

import numpy as np
import pytest
from scipy.special import gammainc
from units import check_units

from physics_twins.calorimeter.baseline import longitudinal, radial, spots
from physics_twins.calorimeter.baseline.model import Numbers
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.parametrised import ParametrisedShower, fit_parametrised, generate
from physics_twins.calorimeter.simulate import simulate

ROUND = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0
)
FLAT = CalorimeterParameters(energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0)


def exact(*values):
    return Numbers(values=values, errors=(0.0,) * len(values))


def model(parameters):
    """Numbers near those that a fit to Geant4 gives."""
    sensors = parameters.scored == "sensors"
    return ParametrisedShower(
        parameters=parameters.replace(layout="cylindrical"),
        n_showers=1000,
        depth=exact(2.1, 0.14),
        alpha=exact(1.35, 0.16),
        fluctuation=exact(-2.15, -0.06, -1.9, -0.05, 0.47, 0.0),
        deposited=exact(995.0, 0.001, 0.005, 0.0015),
        seen=exact(25.5, 0.0, 0.18, 0.0) if sensors else exact(32.4, 0.0, 0.13, 0.0),
        slice_grain_mev=exact(1.1 if sensors else 9.6),
        core=exact(-0.8, 2.1, -0.5, 0.0),
        tail=exact(1.8, 0.0, 0.05, 0.04),
        core_share=exact(2.2, 1.0, -1.1, 0.0),
        outside=exact(1.4),
        faintest_mev=exact(0.1),
        cell_grain_mev=exact(*np.linspace(0.8, 0.6, 9) if sensors else np.linspace(5.4, 2.2, 9)),
    )


def total(showers):
    return showers["showers"].sum(showers["showers"].dims[1:], dtype=float).values


def test_slices_without_end_hold_everything():
    shapes = np.log([[7.0, 4.0], [2.0, 1.2]])
    edges = np.tile(np.linspace(0, 300, 31), (2, 1))
    np.testing.assert_allclose(longitudinal.shares(shapes, edges).sum(axis=1), 1.0)


def test_a_shape_is_found_again_though_the_shower_leaks():
    shapes = np.log([[7.0, 4.0], [5.0, 2.0], [9.0, 6.0]])
    edges = np.tile(np.linspace(0, 14, 30), (3, 1))
    found = longitudinal.fit_shapes(17.0 * longitudinal.shares(shapes, edges), edges)
    np.testing.assert_allclose(found.values, shapes, atol=1e-5)


def test_information_gives_the_spread_of_fitted_shapes():
    # A gamma process of grain g has the covariance g / energy / information.
    shapes, n = np.log([[7.0, 4.0]]), 2000
    edges = np.linspace(0, 40, 41)[None]
    mean = 1000.0 * longitudinal.shares(shapes, edges)
    drawn = np.random.default_rng(1).gamma(np.tile(mean, (n, 1)) / 2.0, 2.0)
    found = longitudinal.fit_shapes(drawn, np.tile(edges, (n, 1)))
    expected = 2.0 / 1000.0 * np.linalg.inv(found.information.mean(axis=0))
    # Relative error of a variance: sqrt(2 / n) = 3 %.
    np.testing.assert_allclose(np.diag(np.cov(found.values.T)), np.diag(expected), rtol=0.16)


def test_rings_are_found_again():
    numbers = np.array([-0.8, 2.1, -0.5, 0.05, 1.8, 0.1, 0.0, 0.04, 2.2, 1.0, -1.1, 0.1])
    tau, x = (axis.ravel() for axis in np.meshgrid(np.linspace(0.1, 2.5, 20), [-2.0, 0.0, 0.7]))
    edges = 4.65 * np.arange(10)
    rings = 1e3 * np.diff(radial.inside(edges, tau[:, None], x[:, None], numbers))
    found, _ = radial.fit_rings(radial.RingSums(tau, x, rings), edges, 3.0)
    within = [radial.inside(edges, tau[:, None], x[:, None], n) for n in (found, numbers)]
    shares = [np.diff(each) / each[:, -1:] for each in within]
    np.testing.assert_allclose(*shares, atol=2e-3)


def test_parts_are_gamma_distributed():
    mean = np.tile([0.05, 0.5, 3.0, 40.0], (20_000, 1))
    drawn = spots.gammas(np.arange(20_000), mean, 2.0)
    error = np.sqrt(2.0 * mean[0] / 20_000)
    assert (np.abs(drawn.mean(axis=0) - mean[0]) < 5 * error).all()
    np.testing.assert_allclose(drawn.var(axis=0), 2.0 * mean[0], rtol=0.35)
    below = (drawn[:, 2] < 2.0).mean()
    assert below == pytest.approx(gammainc(1.5, 1.0), abs=5 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("parameters", [ROUND, FLAT, FLAT.replace(layout="cylindrical")])
def test_showers_have_the_form_of_the_simulation(parameters):
    drawn = generate(model(parameters), parameters.replace(n_showers=3), seed=1)
    made = simulate(parameters.replace(n_showers=3, energy_max_gev=0.0), seed=1)
    assert {n: (v.dims, v.dtype, v.shape) for n, v in drawn.variables.items()} == {
        n: (v.dims, v.dtype, v.shape) for n, v in made.variables.items()
    }
    check_units(drawn)
    np.testing.assert_array_equal(drawn["theta_deg"], made["theta_deg"])


@pytest.mark.parametrize("parameters", [ROUND, FLAT])
def test_a_shower_depends_on_seed_and_number_only(parameters):
    few = generate(model(parameters), parameters.replace(n_showers=3), seed=4)
    more = generate(model(parameters), parameters.replace(n_showers=203), seed=4)
    assert few.identical(more.isel(shower=slice(3)).assign_attrs(n_showers=3))
    other = generate(model(parameters), parameters.replace(n_showers=3), seed=5)
    assert not np.array_equal(few["showers"], other["showers"])


def test_energy_is_conserved():
    drawn = generate(model(ROUND), ROUND.replace(n_showers=100), seed=1)
    whole = 1e3 * drawn["energy_gev"].values
    np.testing.assert_allclose(drawn["deposited_mev"] + drawn["leaked_mev"], whole)
    assert (drawn["leaked_mev"] >= 0).all()
    assert (total(drawn) <= drawn["deposited_mev"].values * (1 + 1e-6)).all()
    assert total(drawn).sum() > 0.95 * whole.sum()


def test_no_cell_is_below_the_threshold():
    parameters = ROUND.replace(n_showers=20, threshold_kev=500.0)
    cells = generate(model(ROUND), parameters, seed=1)["showers"].values
    assert cells[cells > 0].min() >= 0.5
    assert (cells >= 0).all()


def test_both_layouts_hold_the_same_energy():
    flat = generate(model(FLAT), FLAT.replace(n_showers=300), seed=2)
    whole = flat["layer_energy_mev"].sum("layer_number").values
    # What is beyond 130 mm or below the threshold is lost.
    assert 0.98 < total(flat).sum() / whole.sum() <= 1.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"energy_max_gev": 30.0}, "energy_gev = 30 GeV is outside 1 to 20 GeV"),
        ({"energy_gev": 0.5}, "energy_gev = 0.5 GeV is outside"),
        ({"theta_max_deg": 40.0}, "theta_deg = 40 deg is outside 0 to 30 deg"),
        ({"absorber_mm": 2.0}, "absorber_mm = 2.0: this parametrisation was fitted to 1.4"),
        ({"particle": "photon"}, "particle = 'photon'"),
        ({"scored": "sensors"}, "scored = 'sensors'"),
        ({"cell_mm": 5.0}, "cell_mm = 5 mm"),
    ],
)
def test_what_was_not_fitted_is_refused(changes, expected):
    with pytest.raises(ValueError, match=expected):
        generate(model(ROUND), ROUND.replace(**changes), seed=1)


def test_a_model_survives_its_file(tmp_path):
    path = model(ROUND).save(tmp_path / "m.json")
    assert ParametrisedShower.load(path) == model(ROUND)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"n_showers": 1000', '"n_showers": "many"', "n_showers"),
        ('"errors"', '"mistakes"', "errors"),
        ('"outside"', '"inside"', "outside"),
        ("2.1,", "", "values"),
        ('"energy_gev": 1.0', '"energy_gev": -1.0', "energy_gev"),
        ("{", "[", "JSON"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path, old, new, expected):
    path = model(ROUND).save(tmp_path / "m.json")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=expected) as error:
        ParametrisedShower.load(path)
    assert "m.json" in str(error.value)


def test_a_fit_finds_the_numbers_of_a_model_again():
    true = model(ROUND)
    found = fit_parametrised(generate(true, ROUND.replace(n_showers=1500), seed=3))
    for name in ("depth", "alpha"):
        numbers, expected = getattr(found, name), getattr(true, name).values
        # Slices are as thick as a radiation length, and some of the tail is outside: 2 % more.
        errors = 5 * np.array(numbers.errors) + 0.02
        assert (np.abs(np.array(numbers.values) - expected) < errors).all(), name
    assert found.deposited.values[0] == pytest.approx(995.0, abs=5 * found.deposited.errors[0] + 0.2)
    spreads = np.exp(np.array(found.fluctuation.values)[[0, 2]])
    np.testing.assert_allclose(spreads, np.exp([-2.15, -1.9]), rtol=0.15)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_showers": 20}, "20 showers are too few"),
        ({"n_showers": 100, "energy_max_gev": 0.0}, "too close together"),
    ],
)
def test_too_little_to_fit_is_refused(changes, expected):
    drawn = generate(model(ROUND), ROUND.replace(**changes), seed=1)
    with pytest.raises(ValueError, match=expected):
        fit_parametrised(drawn)


def test_a_fit_needs_cylindrical_cells():
    drawn = generate(model(FLAT), FLAT.replace(n_showers=100), seed=1)
    with pytest.raises(ValueError, match="layout = 'cartesian': a fit needs cylindrical cells"):
        fit_parametrised(drawn)


@pytest.mark.slow
def test_showers_of_geant4_have_the_same_response_resolution_and_depth():
    sample = ROUND.replace(energy_max_gev=5.0)
    fitted = fit_parametrised(simulate(sample.replace(n_showers=400), seed=71_001))
    made = simulate(sample.replace(n_showers=300), seed=72_001)
    drawn = generate(fitted, sample.replace(n_showers=3000), seed=72_001)
    for showers in (made, drawn):
        whole = 1e3 * showers["energy_gev"].values
        showers["response"] = ("shower", total(showers) / whole)
        showers["seen"] = showers["layer_energy_mev"].sum("layer_number") / whole
    assert float(drawn["response"].mean() / made["response"].mean()) == pytest.approx(1, abs=0.01)
    assert float(drawn["seen"].mean() / made["seen"].mean()) == pytest.approx(1, abs=0.04)
    # The relative error of a spread of 300 showers is 4 %.
    assert float(drawn["seen"].std() / made["seen"].std()) == pytest.approx(1, abs=0.22)
