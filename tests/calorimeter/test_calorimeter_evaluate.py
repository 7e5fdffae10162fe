"""Numbers of showers against loops, and the evaluation of models whose faults are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from physics_twins.calorimeter.evaluate import METRICS, evaluate, table
from physics_twins.calorimeter.evaluating import matching, response
from physics_twins.calorimeter.evaluating.features import features, matrix
from physics_twins.calorimeter.evaluating.timing import speed_up
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate

BEAM = {"energy_gev": 0.1, "energy_max_gev": 0.4, "theta_max_deg": 20.0}
CYLINDRICAL = CalorimeterParameters(
    **BEAM, layout="cylindrical", scored="everything", cell_mm=8.0, n_showers=480
)
CARTESIAN = CalorimeterParameters(
    **BEAM, phi_max_deg=360.0, spot_mm=30.0, n_layers=8, absorber_mm=6.0, n_showers=12
)


@pytest.fixture(scope="module")
def showers() -> xr.Dataset:
    return simulate(CYLINDRICAL, seed=11)


@pytest.fixture(scope="module")
def flat() -> xr.Dataset:
    return simulate(CARTESIAN, seed=12)


@pytest.fixture(scope="module")
def metrics(showers) -> xr.Dataset:
    """Return those of a model that permutes cells within layers and is 5 % too bright."""
    train, model, real, floor = (showers.isel(shower=slice(n, n + 120)) for n in range(0, 480, 120))
    values = 1.05 * np.roll(model["showers"].values, 3, axis=3)
    made = model.assign(showers=(model["showers"].dims, values))
    return evaluate(made, real, training=train, floor=floor)


def value(metrics: xr.Dataset, sample: str, metric: str) -> tuple[float, float]:
    chosen = metrics.sel(sample=sample, metric=metric)
    return float(chosen["value"]), float(chosen["error"])


# Numbers of a shower


def test_numbers_of_a_cylindrical_shower_are_those_of_a_loop(showers):
    n = int(showers["energy_gev"].values.argmax())
    one, numbers = showers["showers"][n], features(showers).isel(shower=n)
    sums = dict.fromkeys(("all", "depth", "radius", "x"), 0.0)
    layer = int(one.sum(("angle", "radius")).values.argmax())
    for i, a, r in zip(*np.nonzero(one.values), strict=True):
        energy, radius = float(one[i, a, r]), float(one["radius"][r])
        sums["all"] += energy
        sums["depth"] += energy * float(one["depth"][i])
        sums["radius"] += energy * radius
        sums["x"] += energy * radius * np.cos(np.deg2rad(float(one["angle"][a]))) * (i == layer)
    assert numbers["visible_mev"] == pytest.approx(sums["all"])
    assert numbers["depth_mm"] == pytest.approx(sums["depth"] / sums["all"])
    assert numbers["radius_mm"] == pytest.approx(sums["radius"] / sums["all"])
    in_layer = float(numbers["layer_mev"][layer])
    assert numbers["centre_x_mm"][layer] == pytest.approx(sums["x"] / in_layer)
    assert numbers["cell_count"].sum() == (one > 0).sum()
    assert numbers["empty"] == pytest.approx(1 - float((one > 0).mean()))


@pytest.mark.parametrize(("layout", "is_round"), [("showers", True), ("flat", False)])
def test_cells_with_energy_and_neighbours_are_counted_as_by_a_loop(layout, is_round, request):
    showers = request.getfixturevalue(layout).isel(shower=slice(0, 2))
    drawn = np.random.default_rng(5).random(showers["showers"].shape)
    full = showers.assign(showers=(showers["showers"].dims, np.where(drawn < 0.3, drawn, 0)))
    one = full["showers"][1]
    along = ("depth", "angle", "radius") if is_round else ("layer", "x", "y")
    hit = one.transpose(*along).values > 0
    pairs = np.zeros(len(hit), int)
    for layer, a, b in zip(*np.nonzero(hit), strict=True):
        behind = (a + 1) % hit.shape[1] if is_round else a + 1
        pairs[layer] += behind < hit.shape[1] and hit[layer, behind, b]
        pairs[layer] += b + 1 < hit.shape[2] and hit[layer, a, b + 1]
    numbers = features(full).isel(shower=1)
    np.testing.assert_array_equal(numbers["hit_count"], hit.sum(axis=(1, 2)))
    np.testing.assert_array_equal(numbers["pair_count"], pairs)


@pytest.mark.parametrize("layout", ["showers", "flat"])
def test_layers_and_rings_each_hold_all_energy(layout, request):
    numbers = features(request.getfixturevalue(layout))
    for name in ("layer_mev", "ring_mev"):
        np.testing.assert_allclose(numbers[name].sum(numbers[name].dims[1]), numbers["visible_mev"])


def test_a_cartesian_shower_is_measured_from_the_particles_path(flat):
    numbers = features(flat)
    moved = features(
        flat.assign_coords(x=flat["x"] + 7, y=flat["y"] - 3).assign(
            x_mm=flat["x_mm"] + 7, y_mm=flat["y_mm"] - 3
        )
    )
    for name in ("centre_x_mm", "centre_y_mm", "width_x_mm", "radius_mm"):
        np.testing.assert_allclose(moved[name], numbers[name], atol=1e-3)
    # Particles enter up to 15 mm off and are inclined, their showers lie around their paths.
    centre = numbers["centre_x_mm"].weighted(numbers["layer_mev"].fillna(0)).mean()
    assert abs(float(centre)) < 5


def test_units_stand_on_every_number(showers):
    numbers = features(showers.isel(shower=slice(0, 2)))
    assert [
        name for name in numbers.variables if name != "shower" and "units" not in numbers[name].attrs
    ] == []


def test_empty_showers_have_no_centre_and_make_no_noise(showers):
    dark = showers.isel(shower=slice(0, 2)).assign(showers=0 * showers["showers"][:2])
    numbers = features(dark)
    assert np.isnan(numbers["depth_mm"]).all()
    assert np.isfinite(matrix(numbers)).all()


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_cell_that_is_no_energy_is_refused_with_its_shower(showers, bad):
    values = showers["showers"][:5].values.copy()
    values[3, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="shower 3 has a cell"):
        features(showers.isel(shower=slice(0, 5)).assign(showers=(showers["showers"].dims, values)))


def test_another_form_is_refused(showers):
    with pytest.raises(ValueError, match="energy_gev is missing"):
        features(showers.drop_vars("energy_gev"))
    with pytest.raises(ValueError, match="shower, a, angle, radius"):
        features(showers.rename(depth="a"))


# Response


def test_response_and_resolution_of_known_showers_are_found_within_their_errors():
    generator = np.random.default_rng(3)
    energy = np.exp(generator.uniform(0, np.log(100), 8000))
    share = 0.8 * (1 + 0.05 * generator.normal(size=8000))
    numbers = xr.Dataset({"energy_gev": ("shower", energy), "response": ("shower", share)})
    found = response.response_table(numbers, response.energy_edges(energy))
    core = 0.05 * float(norm.ppf(0.84))
    for name, truth in (("response", 0.8), ("core_resolution", core)):
        assert (abs(found[name] - truth) < 5 * found[f"{name}_error"]).all()
    # Of two quantiles' half distance it is sqrt(2 p (1 - 2 p) / n) over twice the density, p = 0.16.
    expected = np.sqrt(2 * 0.16 * 0.68 / found["n_showers"]) / (2 * norm.pdf(norm.ppf(0.84)))
    np.testing.assert_allclose(found["core_resolution_error"] / 0.05, expected, rtol=0.35)


def test_a_few_broken_showers_do_not_change_the_resolution_of_the_core():
    generator = np.random.default_rng(4)
    share = 0.8 * (1 + 0.02 * generator.normal(size=4000))
    broken = share.copy()
    broken[:8] = 0.1
    edges = np.array([1.0, 2.0])
    tables = [
        response.response_table(
            xr.Dataset({"energy_gev": ("shower", np.full(4000, 1.5)), "response": ("shower", each)}),
            edges,
        )
        for each in (share, broken)
    ]
    ratio = (tables[1] / tables[0]).isel(energy=0)
    assert broken.std() / broken.mean() > 1.5 * share.std() / share.mean()
    assert float(ratio["core_resolution"]) == pytest.approx(1.0, abs=0.02)


# Same energies


def test_matched_sets_have_the_same_energies_and_no_shower_twice():
    generator = np.random.default_rng(3)
    energies = {
        "a": generator.uniform(1, 10, 4000),
        "b": np.exp(generator.uniform(0, np.log(10), 4000)),
    }
    sets = {name: xr.Dataset({"energy_gev": ("shower", e)}) for name, e in energies.items()}
    rows = matching.matched(sets, "b")
    kept = {name: energies[name][rows[name]] for name in rows}
    assert len(kept["a"]) == len(kept["b"]) == len(set(rows["a"]))
    assert np.log(kept["a"]).mean() == pytest.approx(np.log(kept["b"]).mean(), abs=0.02)


def test_a_model_of_other_energies_is_refused(showers):
    hot = showers.assign(energy_gev=10 * showers["energy_gev"])
    with pytest.raises(ValueError, match="the model has 480 showers from"):
        evaluate(hot, showers)


# Evaluation


def test_every_number_stands_beside_geant4_and_copies_with_an_error(metrics):
    assert list(metrics["sample"].values) == ["model", "floor", "copy"]
    assert set(metrics["metric"].values) == set(METRICS)
    assert np.isfinite(metrics["value"]).all()
    assert (metrics["error"] >= 0).all()


def test_geant4_against_geant4_is_perfect_within_errors(metrics):
    floor = metrics.sel(sample="floor")
    # Those of which zero is the expectation for one distribution.
    unbiased = [n for n in METRICS if n.startswith("separation")]
    unbiased += ["response", "core_resolution", "hits", "pairs", "copying_rate"]
    chosen = floor.sel(metric=unbiased)
    assert (abs(chosen["value"] - chosen["perfect"]) < 5 * chosen["error"]).all()


def test_a_bright_model_is_seen_in_the_response(metrics):
    found, error = value(metrics, "model", "response")
    assert abs(found - 0.05) < 5 * error
    assert found > 5 * error


def test_permuted_cells_are_seen_by_their_shape_and_not_by_layer_energies(metrics):
    for name, least in (("lateral", 0.1), ("separation_radius", 0.3)):
        found, error = value(metrics, "model", name)
        assert found - 5 * error > value(metrics, "floor", name)[0], name
        assert found > least, name
    found, error = value(metrics, "model", "longitudinal")
    assert found - 5 * error < value(metrics, "floor", "longitudinal")[0]


def test_scattered_cells_are_seen_by_their_counts_and_not_by_the_response(showers):
    # Cells of a ring change places, and half of the fainter cells are gone, their energy in others.
    made, real, floor = (showers.isel(shower=slice(n, n + 120)) for n in range(0, 360, 120))
    generator = np.random.default_rng(1)
    values = generator.permuted(made["showers"].values, axis=2)
    values[(values < 0.5) & (generator.random(values.shape) < 0.5)] = 0
    values *= (made["showers"].sum(("depth", "angle", "radius")) / values.sum(axis=(1, 2, 3))).values[
        :, None, None, None
    ]
    found = evaluate(made.assign(showers=(made["showers"].dims, values)), real, floor=floor)
    for name in ("cells_by_energy", "hits", "pairs"):
        away, error = value(found, "model", name)
        assert away < -5 * error, name
        assert abs(value(found, "floor", name)[0]) < 4 * value(found, "floor", name)[1], name
    assert value(found, "model", "response") == pytest.approx((0, 0), abs=0.02)


def test_only_the_copying_rate_catches_copies(metrics):
    assert value(metrics, "copy", "copying_rate")[0] == 1.0
    assert value(metrics, "model", "copying_rate")[0] < 0.2
    assert value(metrics, "copy", "response")[0] < 5 * value(metrics, "copy", "response")[1]


def test_the_same_seed_gives_the_same_metrics(showers):
    parts = showers.isel(shower=slice(0, 60)), showers.isel(shower=slice(120, 240))
    one, other = (evaluate(*parts) for _ in range(2))
    xr.testing.assert_identical(one, other)


def test_metrics_can_be_saved(metrics, tmp_path):
    metrics.to_netcdf(tmp_path / "metrics.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "metrics.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), metrics)


def test_table_has_a_row_for_each_metric_and_says_how_far_the_model_is_from_geant4(metrics):
    rows = table(metrics)
    assert isinstance(rows, pd.DataFrame)
    assert list(rows.columns[:3]) == ["ours", "limit: Geant4", "baseline: copied training set"]
    row = rows.loc["Response, relative difference, mean over energies"]
    found, error = value(metrics, "model", "response")
    told, told_error = map(float, row["ours"].split("±"))
    assert (told, told_error) == (
        pytest.approx(found, abs=error / 10),
        pytest.approx(error, rel=0.1),
    )
    assert float(row["sigmas off"]) > 5


def test_twice_the_work_makes_another_program_twice_as_fast():
    def work(n: int) -> float:
        return float(sum(np.sqrt(np.arange(20_000.0)).sum() for _ in range(n)))

    found = speed_up(
        lambda _, n: work(2 * n), lambda _, n: work(n), (1.0,), n_generated=200, gev_fired=200.0
    )
    assert float(found["ratio"][0]) == pytest.approx(2.0, rel=0.4)
