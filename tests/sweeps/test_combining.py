"""All cells of a sweep as one dataset."""

import itertools

import numpy as np
import pytest
import xarray as xr
from units import check_units

from physics_twins.data import content_sha256, file_sha256, open_dataset, save
from physics_twins.sweeps import points
from physics_twins.sweeps.combining import combine

UNITS = {"length_m": "m", "n": "", "label": ""}


def done(metrics):
    return {"metrics": metrics}


FAILED = None


def stored(dataset, folder, name):
    path = save(dataset, folder / name)
    return {"file": path.name, "sha256": file_sha256(path)}


def product(listed):
    return [done({"area": point["a"] * 10 + point["b"]}) for point in listed]


def combined(listed, records, folder=None, units=UNITS):
    return combine(listed, records, folder, units=units)


def series(values, **coordinates):
    """A small dataset along `time`."""
    numbers = {name: ("time", column, {"units": "s"}) for name, column in coordinates.items()}
    return xr.Dataset({"angle": ("time", values, {"units": "rad"})}, numbers)


def test_a_grid_has_a_sorted_dimension_for_each_parameter_in_any_order_of_points():
    listed = points.grid({"a": [3, 1, 2], "b": [20, 10]})
    expected = combined(listed, product(listed))
    assert expected.sizes == {"a": 3, "b": 2}
    assert expected["a"].values.tolist() == [1, 2, 3]
    assert expected["area"].sel(a=2, b=20) == 40
    for order in itertools.islice(itertools.permutations(listed), 0, 720, 97):
        xr.testing.assert_identical(combined(order, product(order)), expected)


def test_every_value_stands_at_its_parameters():
    listed = points.grid({"a": [5, 4], "b": [1, 3, 2]})
    found = combined(listed, product(listed))
    for point in listed:
        assert found["area"].sel(point) == point["a"] * 10 + point["b"]


@pytest.mark.parametrize(
    "listed",
    [
        points.grid({"a": [1, 2], "b": [1, 2]})[:3],
        [{"a": 1, "b": 1}, {"a": 2, "b": 2}],
        [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 2, "b": 3}],
        points.sobol({"a": (0, 1), "b": (0, 1)}, 8, seed=1),
    ],
)
def test_points_that_are_no_full_grid_stay_in_their_order_along_cell(listed):
    found = combined(listed, product(listed))
    assert found.sizes == {"cell": len(listed)}
    for name in "ab":
        assert found[name].values.tolist() == [point[name] for point in listed]


def test_one_cell_is_a_grid_of_one():
    found = combined([{"a": 1, "b": 2}], [done({"area": 12})])
    assert found.sizes == {"a": 1, "b": 1}
    assert found["area"].item() == 12


def test_failed_and_missing_cells_are_not_a_number_and_not_complete():
    listed = [{"length_m": float(n)} for n in range(3)]
    found = combined(listed, [FAILED, done({"x": 1.0}), None])
    assert found["complete"].values.tolist() == [False, True, False]
    assert np.isnan(found["x"].values).tolist() == [True, False, True]


def test_a_sweep_where_all_cells_failed_still_has_its_coordinates():
    found = combined([{"a": 1}, {"a": 2}], [FAILED, FAILED])
    assert found.sizes == {"a": 2}
    assert not found["complete"].any()


def test_errors_stand_beside_their_values_and_units_are_kept():
    metric = {"value": 2.0, "error": 0.1, "unit": "s"}
    found = combined([{"length_m": 1.0}, {"length_m": 2.0}], [done({"t": metric}), done({"t": metric})])
    assert (found["t"].attrs["units"], found["t_error"].attrs["units"]) == ("s", "s")
    assert found["t_error"].values.tolist() == [0.1, 0.1]
    assert found["length_m"].attrs["units"] == "m"
    check_units(found)


def test_a_metric_that_only_some_cells_have_is_not_a_number_in_the_others():
    found = combined(
        [{"a": 1}, {"a": 2}, {"a": 3}], [done({"x": 1}), done({"y": 2}), done({"x": None})]
    )
    assert np.isnan(found["x"].values).tolist() == [False, True, True]
    assert np.isnan(found["y"].values).tolist() == [True, False, True]


@pytest.mark.parametrize("listed", [[{"n": 1}, {"n": 2}], [{"n": 1, "m": 1}, {"n": 2, "m": 2}]])
def test_a_metric_with_a_parameters_name_keeps_it_and_the_parameter_gets_another(listed):
    found = combined(listed, [done({"n": 10.0, "n_error": 1}), done({"n": 20.0, "n_error": 2})])
    assert found["n"].values.tolist() == [10.0, 20.0]
    assert found["n_"].values.tolist() == [1, 2]


def test_names_that_the_combination_itself_uses_are_not_lost():
    metrics = {"complete": 3.0, "cell": 4.0, "x": {"value": 1.0, "error": 0.5}, "x_error": 7.0}
    found = combined([{"cell": 1, "a": 5}, {"cell": 2, "a": 6}], [done(metrics)] * 2)
    assert found["complete"].values.tolist() == [3.0, 3.0]
    assert found["complete_"].values.tolist() == [True, True]
    assert found["x_error"].values.tolist() == [7.0, 7.0]
    assert found["x_error_"].values.tolist() == [0.5, 0.5]
    assert [4.0, 4.0] in [found[name].values.tolist() for name in found.variables]
    assert [1, 2] in [found[name].values.tolist() for name in found.variables]


def test_text_and_truth_values_are_coordinates_too():
    listed = points.grid({"label": ["b", "a"], "damped": [True, False]})
    found = combined(listed, [done({"x": n}) for n in range(4)])
    assert found["label"].values.tolist() == ["a", "b"]
    assert found["damped"].values.tolist() == [False, True]
    assert found["x"].sel(label="b", damped=True) == 0
    check_units(found)


def test_datasets_keep_their_inner_dimensions_and_attributes(tmp_path):
    records = [
        stored(series([n, n + 1.0], time=[0.0, 1.0]).assign_attrs(n=n, twin="x"), tmp_path, f"{n}.nc")
        for n in (2, 1)
    ]
    found = combined([{"a": 2}, {"a": 1}], records, tmp_path)
    assert found["angle"].dims == ("a", "time")
    assert found["angle"].values.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert found.attrs == {"twin": "x"}
    assert found["time"].attrs["units"] == "s"
    check_units(found)


def test_a_failed_cell_among_datasets_is_not_a_number(tmp_path):
    records = [FAILED, stored(series([1.0, 2.0]), tmp_path, "1.nc")]
    found = combined([{"a": 1}, {"a": 2}], records, tmp_path)
    assert np.isnan(found["angle"].values).tolist() == [[True, True], [False, False]]
    assert found["complete"].values.tolist() == [False, True]


def test_datasets_on_different_coordinates_are_joined_over_all_of_them(tmp_path):
    records = [
        stored(series([1.0, 2.0], time=[0.0, 1.0]), tmp_path, "1.nc"),
        stored(series([3.0, 4.0], time=[1.0, 2.0]), tmp_path, "2.nc"),
    ]
    found = combined([{"a": 1}, {"a": 2}], records, tmp_path)
    assert found["time"].values.tolist() == [0.0, 1.0, 2.0]
    assert found["angle"].sel(time=1.0).values.tolist() == [2.0, 3.0]
    assert np.isnan(found["angle"].sel(a=1, time=2.0))


def test_datasets_of_different_lengths_without_coordinates_are_refused_by_name(tmp_path):
    records = [stored(series(np.zeros(n)), tmp_path, f"{n}.nc") for n in (2, 3)]
    with pytest.raises(ValueError, match=r"datasets do not fit together: .*time"):
        combined([{"a": 1}, {"a": 2}], records, tmp_path)


def test_datasets_and_numbers_from_one_function_are_refused(tmp_path):
    records = [done({"x": 1}), stored(series([1.0]), tmp_path, "1.nc")]
    with pytest.raises(ValueError, match="some gave a dataset and others numbers"):
        combined([{"a": 1}, {"a": 2}], records, tmp_path)


def test_a_dataset_may_have_what_is_called_cell_complete_or_as_a_parameter(tmp_path):
    energy = xr.Dataset(
        {
            "energy": ("cell", [1.0, 2.0, 3.0], {"units": "GeV"}),
            "complete": ("cell", [True, False, True]),
            "a": ((), 9.0, {"units": "1"}),
        }
    )
    records = [stored(energy, tmp_path, f"{n}.nc") for n in (1, 2)]
    found = combined([{"a": 1}, {"a": 2}], records, tmp_path)
    assert found["energy"].dims == ("a_", "cell_")
    assert found["complete"].dims == ("a_", "cell_")
    assert found["complete_"].values.tolist() == [True, True]
    assert found["a"].values.tolist() == [9.0, 9.0]


@pytest.mark.parametrize("last", [FAILED, "other"])
def test_every_kind_of_variable_survives_missing_cells_and_the_disk(last, tmp_path):
    kinds = xr.Dataset(
        {
            "count": ("time", [1, 2], {"units": "1"}),
            "small": ("time", np.array([1, 2], "uint8"), {"units": "1"}),
            "good": ("time", [True, False]),
            "name": ("time", ["x", "yy"]),
        },
        {"time": ("time", [0.0, 1.0], {"units": "s"})},
    )
    other = kinds.assign_coords(time=("time", [1.0, 2.0], {"units": "s"}))
    records = [
        stored(kinds, tmp_path, "1.nc"),
        last if last is FAILED else stored(other, tmp_path, "2.nc"),
    ]
    found = combined([{"a": 1}, {"a": 2}], records, tmp_path)
    again = open_dataset(save(found, tmp_path / "all.nc"))
    assert again["count"].sel(a=1, time=[0.0, 1.0]).values.tolist() == [1, 2]
    assert np.isnan(again["count"].sel(a=2, time=0.0))
    assert again["good"].sel(a=1, time=[0.0, 1.0]).values.tolist() == [1, 0]
    assert np.isnan(again["good"].sel(a=2, time=0.0))
    assert again["name"].sel(a=1, time=[0.0, 1.0]).values.tolist() == ["x", "yy"]
    assert again["name"].sel(a=2, time=0.0) == ""
    assert content_sha256(again) == content_sha256(found)
    check_units(found)


def test_a_cell_file_that_changed_is_refused_by_name(tmp_path):
    record = stored(series([1.0]), tmp_path, "1.nc")
    content = bytearray((tmp_path / "1.nc").read_bytes())
    content[-1] ^= 1
    (tmp_path / "1.nc").write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.nc has changed since it was written: delete it"):
        combined([{"a": 1}], [record], tmp_path)


def test_a_record_cannot_name_a_file_elsewhere(tmp_path):
    (tmp_path / "cells").mkdir()
    record = stored(series([1.0]), tmp_path, "1.nc")
    record["file"] = "../1.nc"
    with pytest.raises(ValueError, match=r"cells/1\.nc has changed"):
        combined([{"a": 1}], [record], tmp_path / "cells")


def test_the_content_hash_does_not_depend_on_the_order_or_the_storage(tmp_path):
    listed = points.grid({"length_m": [1.0, 2.0], "label": ["b", "long one"], "damped": [True, False]})
    metrics = {"x": {"value": 1.0, "error": 0.1, "unit": "s"}, "y": 2}
    found = combined(listed, [done(metrics)] * 8)
    turned = combined(listed[::-1], [done(dict(reversed(metrics.items())))] * 8)
    again = open_dataset(save(found, tmp_path / "a.nc"))
    chunked = open_dataset(tmp_path / "a.nc", chunks={})
    part = found.sel(label=["b"])
    stored_part = open_dataset(save(part, tmp_path / "b.nc"))
    hashes = {content_sha256(each) for each in (found, turned, again, chunked)}
    assert len(hashes) == 1
    assert content_sha256(part) == content_sha256(stored_part)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign(x=d.x + 1e-12),
        lambda d: d.assign_attrs(seed=2),
        lambda d: d.rename(x="y"),
        lambda d: d.assign_coords(a=[1, 3]),
        lambda d: d.assign(x=d.x.assign_attrs(units="ms")),
    ],
)
def test_any_change_of_content_changes_the_hash(change):
    found = combined([{"a": 1}, {"a": 2}], [done({"x": 1.0}), done({"x": 2.0})])
    assert content_sha256(change(found)) != content_sha256(found)


def test_names_that_a_file_cannot_hold_are_changed_and_told(tmp_path):
    listed = points.grid({"a": [1, 2]})
    records = [done({"val/loss": 1.0 * n, "val_loss": 2.0 * n, "3rd": n, "": 0.0}) for n in (1, 2)]
    found = combined(listed, records)
    stored_again = open_dataset(save(found, tmp_path / "result.nc"))
    assert stored_again["val_loss"].values.tolist() == [1.0, 2.0]
    assert stored_again["val_loss"].attrs["long_name"] == "val/loss"
    assert stored_again["val_loss_"].values.tolist() == [2.0, 4.0]
    assert stored_again["_3rd"].values.tolist() == [1.0, 2.0]


def test_what_does_not_fit_is_named_and_the_rest_is_combined(tmp_path):
    listed = points.grid({"a": [1, 2]})
    records = [
        done({"length": {"value": n, "unit": unit}, "huge": 10**400, "n": n, "large": 2**70})
        for n, unit in ((1, "m"), (2, "ft"))
    ]
    found = combined(listed, records)
    save(found, tmp_path / "result.nc")
    assert found["n"].values.tolist() == [1.0, 2.0]
    assert found["large"].values.tolist() == [2.0**70] * 2
    assert np.isnan(found["huge"]).all()
    assert "length has units ['ft', 'm']" in found.attrs["not_combined"]
    assert "huge is too large for a number in 2 cells" in found.attrs["not_combined"]


@pytest.mark.parametrize(
    "seeds", [[1, 2**63], [2**63, 2**64 - 1], [-1, 2**63], [2**64, 2**70], [2**53, 2**53 + 1]]
)
def test_seeds_of_any_size_stay_what_they_are(tmp_path, seeds):
    listed = points.grid({"seed": seeds})
    found = combined(listed, [done({"n": n}) for n in range(len(seeds))])
    again = open_dataset(save(found, tmp_path / "result.nc"))
    assert sorted(map(int, again["seed"].values)) == sorted(seeds)
