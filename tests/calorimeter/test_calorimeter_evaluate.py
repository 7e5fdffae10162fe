"""Numbers of showers against loops, and the evaluation of models whose faults are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from physics_twins.calorimeter.evaluate import METRICS, evaluate, table
from physics_twins.calorimeter.evaluating import matching, response
from physics_twins.calorimeter.evaluating.features import features, matrix
from physics_twins.calorimeter.evaluating.timing import generation_time
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
    return evaluate(made, real, training=train, floor=floor, voxels=False)


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
    assert np.isfinite(matrix(numbers)[1]).all()


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
    for name, truth in (("response", 0.8), ("resolution", 0.05), ("core_resolution", core)):
        assert (abs(found[name] - truth) < 5 * found[f"{name}_error"]).all()
    # Of a Gaussian, the resolution's relative error is 1 / sqrt(2 n).
    expected = 1 / np.sqrt(2 * found["n_showers"])
    np.testing.assert_allclose(found["resolution_error"] / found["resolution"], expected, rtol=0.2)
    # Of two quantiles' half distance it is sqrt(2 p (1 - 2 p) / n) over twice the density, p = 0.16.
    expected = np.sqrt(2 * 0.16 * 0.68 / found["n_showers"]) / (2 * norm.pdf(norm.ppf(0.84)))
    np.testing.assert_allclose(found["core_resolution_error"] / 0.05, expected, rtol=0.35)


def test_a_few_broken_showers_change_the_resolution_and_not_that_of_the_core():
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
    assert float(ratio["resolution"]) > 1.5
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
    assert set(metrics["metric"].values) == set(METRICS) - {"auc_voxels"}
    known = metrics.drop_sel(metric="fpd")  # 120 showers are too few for it
    assert np.isfinite(known["value"]).all()
    assert (known["error"] >= 0).all()
    assert np.isnan(metrics["value"].sel(metric="fpd")).all()


def test_geant4_against_geant4_is_perfect_within_errors(metrics):
    floor = metrics.sel(sample="floor")
    # Those of which zero is the expectation for one distribution.
    unbiased = [n for n in METRICS if n.startswith("separation")]
    unbiased += ["auc_features", "kpd", "response", "resolution", "core_resolution", "density"]
    unbiased += ["copying_rate"]
    chosen = floor.sel(metric=unbiased)
    assert (abs(chosen["value"] - chosen["perfect"]) < 5 * chosen["error"]).all()


def test_a_bright_model_is_seen_in_the_response(metrics):
    found, error = value(metrics, "model", "response")
    assert abs(found - 0.05) < 5 * error
    assert found > 5 * error


def test_permuted_cells_are_seen_by_shape_and_classifier_and_not_by_layer_energies(metrics):
    for name, least in (("lateral", 0.1), ("separation_radius", 0.3), ("auc_features", 0.8)):
        found, error = value(metrics, "model", name)
        assert found - 5 * error > value(metrics, "floor", name)[0], name
        assert found > least, name
    found, error = value(metrics, "model", "longitudinal")
    assert found - 5 * error < value(metrics, "floor", "longitudinal")[0]


def test_only_the_copying_rate_catches_copies(metrics):
    assert value(metrics, "copy", "copying_rate")[0] == 1.0
    assert value(metrics, "model", "copying_rate")[0] < 0.2
    assert value(metrics, "copy", "response")[0] < 5 * value(metrics, "copy", "response")[1]


@pytest.mark.slow
def test_a_classifier_on_cells_sees_permuted_cells(showers):
    values = np.roll(showers["showers"].values, 3, axis=3)
    made = showers.assign(showers=(showers["showers"].dims, values)).isel(shower=slice(0, 60))
    found = evaluate(made, showers.isel(shower=slice(120, 240)))
    model, error = value(found, "model", "auc_voxels")
    assert model - 3 * error > value(found, "floor", "auc_voxels")[0]
    assert found.attrs["floor"] == "halves of the reference"
    assert found.sizes["kind"] == 2


def test_the_same_seed_gives_the_same_metrics(showers):
    parts = showers.isel(shower=slice(0, 60)), showers.isel(shower=slice(120, 240))
    one, other = (evaluate(*parts, voxels=False) for _ in range(2))
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
    assert set(rows.loc["Frechet physics distance"].iloc[:3]) == {"too few showers"}


def test_time_of_a_shower_is_that_of_its_loop():
    def generate(n: int) -> float:
        return float(sum(np.sqrt(np.arange(20_000.0)).sum() for _ in range(n)))

    found = generation_time(generate, batches=(1, 50), n_repeats=3, at_least_s=0.02)
    one, many = found["cpu_ms"].values
    assert one == pytest.approx(many, rel=1.0)
    assert (found["cpu_ms"] > 0).all()
    assert (found["spread_ms"] >= 0).all()
