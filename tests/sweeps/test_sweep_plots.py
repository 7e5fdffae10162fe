"""Figures and tables of reports: right numbers at right places, for every kind of sweep and study."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.model import Model
from bokeh.models import FactorRange, Legend, LinearAxis, LogAxis, Title, Whisker

from physics_twins.data import Estimate
from physics_twins.sweeps import report
from physics_twins.sweeps.combining import combine
from physics_twins.sweeps.points import grid, sobol
from physics_twins.sweeps.study import Study


@pytest.fixture(autouse=True, scope="module")
def bokeh():
    hv.extension("bokeh")


def drawn(figure: Any) -> Model:
    return hv.render(figure, backend="bokeh")


def parts_of(model: Model, kind: type[Model]) -> list[Any]:
    return [part for part in model.references() if isinstance(part, kind)]


def titles(model: Model) -> str:
    return " ".join(title.text for title in parts_of(model, Title))


def legend_labels(model: Model) -> set[str]:
    return {item.label.value for legend in parts_of(model, Legend) for item in legend.items}


def axis_labels(model: Model) -> set[str]:
    return {axis.axis_label for axis in parts_of(model, LinearAxis) + parts_of(model, LogAxis)}


def swept(points, *metrics) -> xr.Dataset:
    """The dataset of a sweep whose cells had these metrics; None for a cell without a result."""
    units = {"energy_gev": "GeV", "place_m": "m"}
    results = [None if each is None else {"metrics": each} for each in metrics]
    return combine(points, results, Path(), units=units)


def plot(dataset: xr.Dataset) -> Any:
    return report.plot(dataset, [])


def drawn_points(figure) -> dict[str, tuple[list, list]]:
    """Places and values of each curve or set of points, by its label."""
    return {each.label: (each.dimension_values(0), each["value"]) for each in figure.Scatter}


def bars(figure) -> list[float]:
    return [error for each in figure.ErrorBars for error in each["error"]]


# The means behind the figures.


def test_seeds_are_averaged_with_the_standard_error_of_their_mean():
    points = grid({"place_m": [1.0, 2.0], "seed": [1, 2, 3, 4]})
    values = [1.0, 2.0, 3.0, 4.0, 7.0, 7.0, 9.0, 9.0]
    ((figure,),) = [plot(swept(points, *({"depth": value} for value in values)))]
    ((places, means),) = drawn_points(figure).values()
    assert (list(places), list(means)) == ([1.0, 2.0], [2.5, 8.0])
    expected = [np.std(values[:4], ddof=1) / 2, np.std(values[4:], ddof=1) / 2]
    assert bars(figure) == pytest.approx(expected)


def test_seeds_that_agree_by_chance_do_not_make_a_mean_exact():
    points = grid({"place_m": [1.0, 2.0], "seed": [1, 2]})
    metrics = [{"depth": {"value": p["place_m"], "error": 0.3}} for p in points]
    (figure,) = plot(swept(points, *metrics))
    assert bars(figure) == pytest.approx([0.3 / math.sqrt(2)] * 2)


def test_a_single_seed_keeps_the_errors_of_its_cells():
    points = grid({"place_m": [1.0, 2.0]})
    (figure,) = plot(swept(points, *({"depth": {"value": e, "error": e}} for e in (0.1, 0.2))))
    assert bars(figure) == pytest.approx([0.1, 0.2])


def test_a_metric_that_is_the_same_everywhere_is_not_drawn_unless_it_is_asked_for():
    points = grid({"place_m": [1.0, 2.0]})
    dataset = swept(points, {"depth": 1.0, "count": 3}, {"depth": 2.0, "count": 3})
    (figure,) = plot(dataset)
    assert "depth against place_m" in titles(drawn(figure))
    (figure,) = report.plot(dataset, ["count"])
    assert "count against place_m" in titles(drawn(figure))


# Each kind of sweep.


def test_a_grid_is_drawn_as_one_curve_for_each_value_of_the_other_axis():
    points = grid({"place_m": [1.0, 2.0, 3.0], "energy_gev": [5.0, 50.0], "seed": [1, 2]})
    metrics = ({"depth": p["place_m"] * p["energy_gev"] + p["seed"]} for p in points)
    (figure,) = plot(swept(points, *metrics))
    model = drawn(figure)
    assert legend_labels(model) == {"energy_gev 5", "energy_gev 50"}
    assert axis_labels(model) == {"Place (m)", "Depth"}
    assert "mean of 2 seeds" in titles(model)
    assert list(drawn_points(figure)["energy_gev 50"][1]) == [51.5, 101.5, 151.5]
    assert len(parts_of(model, Whisker)) == 2


def test_values_spread_in_factors_get_an_axis_in_factors():
    points = grid({"energy_gev": [0.1, 1.0, 10.0, 100.0]})
    (figure,) = plot(swept(points, *({"depth": n} for n in range(4))))
    assert parts_of(drawn(figure), LogAxis)
    points = grid({"energy_gev": [1.0, 34.0, 67.0, 100.0]})
    (figure,) = plot(swept(points, *({"depth": n} for n in range(4))))
    assert not parts_of(drawn(figure), LogAxis)


def test_a_sobol_sequence_is_drawn_against_each_of_its_parameters():
    points = sobol({"place_m": (0, 1), "energy_gev": (1, 2), "n": (0, 9)}, 16, seed=1, whole=["n"])
    dataset = swept(points, *({"depth": p["place_m"], "width": p["n"] + 0.5} for p in points))
    figures = [drawn(figure) for figure in plot(dataset)]
    assert len(figures) == 6
    assert [titles(figure) for figure in figures][:2] == [
        "depth against place_m",
        "depth against energy_gev",
    ]


def test_words_and_truth_values_have_places_on_an_axis_of_their_own():
    points = grid({"season": ["wet", "dry"], "steep": [True, False], "seed": [1, 2]})
    (figure,) = plot(swept(points, *({"depth": n} for n in range(8))))
    model = drawn(figure)
    ranges = [set(found.factors) for found in parts_of(model, FactorRange)]
    assert {"wet", "dry"} in ranges
    assert legend_labels(model) == {"steep False", "steep True"}


def test_where_only_seeds_differ_their_values_are_drawn():
    (figure,) = plot(swept(grid({"seed": range(1, 5)}), *({"depth": n} for n in (1, 2, 3, 4))))
    assert "depth against seed" in titles(drawn(figure))


def test_one_cell_alone_is_told_in_words():
    assert "the same everywhere" in plot(swept([{"place_m": 1.0}], {"depth": 2.0})).data


def test_a_sweep_of_which_everything_failed_is_told_in_words():
    dataset = swept([{"place_m": 1.0}, {"place_m": 2.0}], None, None)
    assert "No cell has a result" in plot(dataset).data


def test_cells_without_a_result_leave_a_gap_and_no_error():
    points = grid({"place_m": [1.0, 2.0, 3.0]})
    (figure,) = plot(swept(points, {"depth": 1.0}, {"depth": 2.0}, None))
    ((places, _),) = drawn_points(figure).values()
    assert list(places) == [1.0, 2.0]
    drawn(figure)


def test_results_with_dimensions_of_their_own_are_not_drawn():
    shape = ("place_m", "time")
    dataset = xr.Dataset(
        {
            "wave": (shape, np.arange(6.0).reshape(2, 3), {"units": "K"}),
            "peak": ("place_m", [2.0, 5.0], {"units": "K"}),
            "complete": ("place_m", [True, True]),
        },
        coords={"place_m": [1.0, 2.0]},
    )
    (figure,) = plot(dataset)
    assert "peak against place_m" in titles(drawn(figure))


def test_a_long_list_of_values_is_shortened_and_counted():
    assert report._listed(range(20)) == "0, 1, 2, 3, ..., 18, 19 (20 values)"


# Studies.


def trial(number, value) -> Any:
    return SimpleNamespace(number=number, value=value)


def study(trials, **metrics) -> Any:
    plan = {"metric": "depth", "maximise": False}
    found = {name: Estimate.of(value, 0.1, "m") for name, value in metrics.items()}
    return SimpleNamespace(trials=trials, plan=plan, metrics=found)


def test_the_history_has_the_best_so_far_the_defaults_and_the_fresh_seeds():
    trials = [trial(0, 3.0), trial(1, 2.0), trial(2, None), trial(3, 2.5)]
    figure = report.history(study(trials, best=2.0, baseline=3.0, best_confirmed=2.2))
    model = drawn(figure)
    assert legend_labels(model) == {
        "best so far",
        "defaults: 3.00 +- 0.10 m",
        "best, fresh seeds: 2.20 +- 0.10 m",
        "Depth",
    }
    assert figure.Curve.Depth["value"].tolist() == [3.0, 2.0, 2.5]
    assert figure.Curve.Best_so_far["value"].tolist() == [3.0, 2.0, 2.0]
    assert axis_labels(model) == {"Trial", "Depth (m)"}
    assert "lower is better" in titles(model)


def test_a_study_of_which_everything_failed_is_told_in_words():
    assert "No trial is complete" in report.history(study([trial(0, None)])).data


def test_a_single_complete_trial_can_be_drawn():
    drawn(report.history(study([trial(0, 3.0)], best=3.0)))


@pytest.mark.parametrize(
    ("gain", "error", "real"), [(1.0, 0.07, True), (-0.05, 1.0, False), (0.19, 0.1, False)]
)
def test_a_gain_is_real_only_above_two_of_its_errors(gain, error, real):
    found = Study(Path())
    found.__dict__["metrics"] = {
        "gain": Estimate.of(9.0, 0.1),
        "gain_confirmed": Estimate.of(gain, error),
    }
    assert found.is_real is real
