"""Figures and tables of reports: right numbers at right places, for every kind of sweep and study."""

import math
from typing import Any

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.model import Model
from bokeh.models import GlyphRenderer, Legend, LinearAxis, LogAxis, Title, Whisker

from physics_twins.data import Estimate
from physics_twins.sweeps import SweepTable, plots, study_plots, table_of, tables, trial_table
from physics_twins.sweeps.combining import combine
from physics_twins.sweeps.points import grid, sobol, with_seeds
from physics_twins.sweeps.trials import Trial
from physics_twins.sweeps.verdict import Verdict


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


def records(*metrics, **facts) -> list[dict[str, Any]]:
    usual = {"status": "complete", "seconds": 1.0, "host": "a", "started": 0.0}
    return [usual | facts | {"result": {"metrics": each}} for each in metrics]


def swept(points, *metrics, tmp_path=None) -> SweepTable:
    """The table of a sweep whose cells had these metrics."""
    units = {"energy_gev": "GeV", "place_m": "m"}
    return table_of(combine(points, records(*metrics), tmp_path, units=units))


# The table behind the figures.


def test_seeds_are_averaged_with_the_standard_error_of_their_mean():
    points = with_seeds(grid({"place_m": [1.0, 2.0]}), [1, 2, 3, 4])
    values = [1.0, 2.0, 3.0, 4.0, 7.0, 7.0, 9.0, 9.0]
    mean = swept(points, *({"depth": value} for value in values)).averaged()
    assert mean.rows["depth"].tolist() == [2.5, 8.0]
    expected = [np.std(values[:4], ddof=1) / 2, np.std(values[4:], ddof=1) / 2]
    assert mean.rows["depth_error"].tolist() == pytest.approx(expected)
    assert mean.parameters == ("place_m",)


def test_seeds_that_agree_by_chance_do_not_make_a_mean_exact():
    points = with_seeds([{"place_m": 1.0}], [1, 2])
    mean = swept(points, *[{"depth": {"value": 1.0, "error": 0.3}}] * 2).averaged()
    assert mean.rows["depth_error"].tolist() == pytest.approx([0.3 / math.sqrt(2)])


def test_a_single_seed_keeps_the_errors_of_its_cells():
    points = grid({"place_m": [1.0, 2.0]})
    mean = swept(points, *({"depth": {"value": 1.0, "error": e}} for e in (0.1, 0.2))).averaged()
    assert mean.rows["depth_error"].tolist() == pytest.approx([0.1, 0.2])


def test_a_metric_that_is_the_same_everywhere_is_told_and_not_drawn():
    points = grid({"place_m": [1.0, 2.0]})
    table = swept(points, {"depth": 1.0, "count": 3}, {"depth": 2.0, "count": 3})
    assert table.constant == {"count": 3.0}
    (figure,) = plots.metrics(table)
    assert "depth against place_m" in titles(drawn(figure))


# Each kind of sweep.


def test_a_grid_is_drawn_as_one_curve_for_each_value_of_the_other_axis():
    points = with_seeds(grid({"place_m": [1.0, 2.0, 3.0], "energy_gev": [5.0, 50.0]}), [1, 2])
    metrics = ({"depth": p["place_m"] * p["energy_gev"] + p["seed"]} for p in points)
    (figure,) = plots.metrics(swept(points, *metrics))
    model = drawn(figure)
    assert legend_labels(model) == {"single seeds", "energy_gev 5", "energy_gev 50"}
    assert axis_labels(model) == {"place (m)", "depth"}
    assert "mean of 2 seeds" in titles(model)
    curves = {curve.label: curve for curve in figure.Curve}
    assert curves["energy_gev 50"]["metric"].tolist() == [51.5, 101.5, 151.5]
    assert len(parts_of(model, Whisker)) == 2


def test_values_spread_in_factors_get_an_axis_in_factors():
    points = grid({"energy_gev": [0.1, 1.0, 10.0, 100.0]})
    (figure,) = plots.metrics(swept(points, *({"depth": n} for n in range(4))))
    assert parts_of(drawn(figure), LogAxis)
    points = grid({"energy_gev": [1.0, 34.0, 67.0, 100.0]})
    (figure,) = plots.metrics(swept(points, *({"depth": n} for n in range(4))))
    assert not parts_of(drawn(figure), LogAxis)


def test_a_sobol_sequence_is_drawn_against_each_of_its_parameters():
    points = sobol({"place_m": (0, 1), "energy_gev": (1, 2), "n": (0, 9)}, 16, seed=1, whole=["n"])
    table = swept(points, *({"depth": p["place_m"], "width": p["n"] + 0.5} for p in points))
    assert not table.is_grid
    figures = [drawn(figure) for figure in plots.metrics(table)]
    assert len(figures) == 6
    assert [titles(figure) for figure in figures][:2] == [
        "depth against place_m",
        "depth against energy_gev",
    ]


def test_words_and_truth_values_have_places_on_an_axis_of_their_own():
    points = with_seeds(grid({"season": ["wet", "dry"], "steep": [True, False]}), [1, 2])
    table = swept(points, *({"depth": n} for n in range(8)))
    (figure,) = plots.metrics(table)
    model = drawn(figure)
    (axis,) = [axis for axis in parts_of(model, LinearAxis) if axis.axis_label == "season"]
    assert set(axis.major_label_overrides.values()) == {"wet", "dry"}
    assert {"steep False", "steep True"} <= legend_labels(model)


def test_where_only_seeds_differ_their_mean_and_its_error_are_drawn():
    table = swept(with_seeds([{}], range(1, 5)), *({"depth": n} for n in (1.0, 2.0, 3.0, 4.0)))
    (figure,) = plots.metrics(table)
    assert "mean: 2.5 +- 0.65" in legend_labels(drawn(figure))


def test_one_cell_alone_is_told_in_words():
    ((text,),) = [plots.metrics(swept([{"place_m": 1.0}], {"depth": 2.0}))]
    assert "the same everywhere" in text.data


def test_a_sweep_of_which_everything_failed_is_told_in_words(tmp_path):
    failed = {"status": "failed", "result": {}, "seconds": 0.1, "host": "a", "started": 0.0}
    dataset = combine([{"place_m": 1.0}, {"place_m": 2.0}], [failed, failed], tmp_path, units={})
    table = table_of(dataset)
    ((text,),) = [plots.metrics(table)]
    assert "No cell has a result" in text.data
    assert tables.results(dataset).index.tolist() == ["complete"]


def test_cells_without_a_result_leave_a_gap_and_no_error(tmp_path):
    points = grid({"place_m": [1.0, 2.0, 3.0]})
    waiting = [*records({"depth": 1.0}, {"depth": 2.0}), None]
    table = table_of(combine(points, waiting, tmp_path, units={}))
    assert table.rows["place_m"].tolist() == [1.0, 2.0]
    drawn(plots.metrics(table))


def test_results_with_dimensions_of_their_own_are_in_the_table():
    shape = ("place_m", "time")
    dataset = xr.Dataset(
        {
            "wave": (shape, np.arange(6.0).reshape(2, 3), {"units": "K"}),
            "peak": ("place_m", [2.0, 5.0], {"units": "K"}),
            "complete": ("place_m", [True, True]),
        },
        coords={"place_m": [1.0, 2.0]},
    )
    table = table_of(dataset)
    assert table.metrics == ("peak",)
    assert table.others == ("wave",)
    shown = tables.results(dataset)
    assert shown.loc["wave"].tolist() == ["K", "place_m 2 x time 3", "0", "2.5", "5"]


def test_many_seconds_of_many_hosts_are_told_apart_and_failures_marked():
    cells = records({}, {}, {}, seconds=2.0)
    cells += records({}, host="b", seconds=4.0, status="failed", started=9.0)
    model = drawn(plots.durations([*cells, None]))
    assert legend_labels(model) == {"median 2 s", "a", "b", "failed"}
    assert "4 cells took 10 s of computing on 2 hosts" in titles(model)
    table = tables.hosts([*cells, None])
    assert table.loc["b"].tolist() == [1, 1, "4", "4", "4"]


def test_of_a_farm_that_has_computed_nothing_that_is_told():
    assert "No cell" in plots.durations([None, None]).data
    assert tables.hosts([None]).empty


# Studies.

PLAN = {
    "task": "m:f",
    "title": "A function.",
    "metric": "depth",
    "maximise": False,
    "sampler": "tpe",
    "seed": 1,
    "ranges": {"place_m": [0.0, 10.0], "energy_gev": [0.01, 100.0], "n": [1, 5]},
    "choices": {"season": ["wet", "dry"], "steep": [False, True]},
    "logarithmic": ["energy_gev"],
    "units": {"place_m": "m", "energy_gev": "GeV", "n": "", "season": "", "steep": ""},
}
POINT = {"place_m": 2.5, "energy_gev": 1.0, "n": 3, "season": "dry", "steep": True}


def trial(number, value, **changes) -> Trial:
    status = "failed" if value is None else "complete"
    point = POINT | changes
    return Trial(number, number, point, f"k{number}", status, value, 0.1, "" if value else "broken")


def verdict(best, **changes) -> Verdict:
    facts = {
        "best": best,
        "baseline_point": POINT,
        "baseline": Estimate.of(3.0, 0.1),
        "gain": Estimate.of(1.0, 0.14),
        "seeds": (2, 3),
        "best_values": (2.1, 2.3),
        "baseline_values": (2.9, 3.1),
        "maximise": False,
        "unit": "m",
    }
    return Verdict(**(facts | changes))


@pytest.fixture
def study() -> tuple[xr.Dataset, Verdict]:
    trials = [trial(0, 3.0), trial(1, 2.0, place_m=10.0, season="wet"), trial(2, None), trial(3, 2.5)]
    return trial_table.dataset(PLAN, trials, {}), verdict(trials[1])


def test_the_history_has_the_best_so_far_the_defaults_and_the_fresh_seeds(study):
    figure = study_plots.history(*study)
    model = drawn(figure)
    assert legend_labels(model) >= {"best so far", "defaults", "best, fresh seeds", "failed", "trial"}
    assert figure.Curve.Best_so_far["metric"].tolist() == [3.0, 2.0, 2.0]
    assert figure.Curve.Best_comma_fresh_seeds["metric"].tolist() == pytest.approx([2.2, 2.2])
    assert axis_labels(model) == {"trial", "depth (m)"}
    assert "lower is better" in titles(model)


def test_a_study_of_which_everything_failed_is_told_in_words():
    trials = trial_table.dataset(PLAN, [trial(0, None)], {})
    nothing = verdict(None, baseline=None, gain=None, best_values=(), baseline_values=(), seeds=())
    assert "No trial is complete" in study_plots.history(trials, nothing).data
    assert nothing.metrics() == {}
    assert not nothing.is_real


def test_a_single_complete_trial_can_be_drawn():
    trials = trial_table.dataset(PLAN, [trial(0, 3.0)], {})
    drawn(study_plots.history(trials, verdict(trial(0, 3.0))))


def test_importances_are_drawn_beside_what_all_equal_would_give():
    model = drawn(study_plots.importances({"place_m": 0.7, "energy_gev": 0.3}, 40))
    assert "best 12 %" in titles(model)
    assert "40 trials: rough" in titles(model)
    bars = [r.data_source.data for r in parts_of(model, GlyphRenderer) if "share" in r.data_source.data]
    assert sorted(bars[0]["share"]) == [0.3, 0.7]


def test_too_few_trials_for_importances_are_told_in_words():
    assert "need 10 complete trials that differ; 5 are" in study_plots.importances({}, 5).data


@pytest.mark.parametrize(
    ("best", "baseline", "real"),
    [((1.0, 1.1), (2.0, 2.1), True), ((1.0, 3.0), (2.0, 2.1), False), ((2.0,), (1.0,), False)],
)
def test_a_gain_is_real_only_above_two_of_its_errors(best, baseline, real):
    assert verdict(trial(0, 1.0), best_values=best, baseline_values=baseline).is_real is real


def test_a_failed_fresh_seed_is_left_out_of_both_sides_of_the_comparison():
    found = verdict(trial(0, 1.0), best_values=(1.0, math.nan, 1.2), baseline_values=(2.0, 9.0, 2.0))
    assert found.gain_confirmed.value == pytest.approx(0.9)
