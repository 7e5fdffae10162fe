"""Studies: the search goes where the metric is best, is resumed exactly, and does not fool itself."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tuned
from optuna.distributions import FloatDistribution
from small_notebooks import OPEN, PERIOD, SAVE, write_notebook
from sources import TESTS

from physics_twins import clusters, runs, sweeps
from physics_twins.parameters import ParameterError
from physics_twins.sweeps import Study, Sweep, tasks, trials
from physics_twins.sweeps import farm as records
from physics_twins.sweeps.study import CONFIRMATION
from physics_twins.sweeps.sweep import SweepError
from physics_twins.sweeps.trials import MetricError, MissingMetricError, metric_of


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as client:
        yield client


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))


def tune(client, what="tuned:depth", **options):
    """A small quiet study; `options` override."""
    usual = {"metric": "depth", "ranges": {"east_m": (0, 1)}, "n_trials": 4, "confirm": 0}
    usual |= {"client": client, "parallel": 1, "progress": False}
    return sweeps.tune(what, **(usual | options))


def outcomes(study):
    return [(trial.params, trial.value) for trial in study.trials]


# The search itself.


def test_the_defaults_are_the_first_trial_and_the_number_of_trials_is_exact(client):
    study = tune(client, ranges={"east_m": (0, 1), "width_m": (1e-4, 1)}, n_trials=7)
    assert len(study.trials) == 7
    assert study.trials[0].params == {"east_m": 0.8, "width_m": 0.3}
    assert study.status == "complete"
    assert study.computed == 7


def test_trials_are_inside_the_ranges_whole_where_asked_and_in_factors_where_declared(client):
    ranges = {"width_m": (1e-4, 0.5), "n_steps": (2.0, 9.0)}
    study = tune(client, ranges=ranges, choices={"steep": ["true", "false"]}, n_trials=40)
    points = [trial.params for trial in study.trials]
    assert all(1e-4 <= point["width_m"] <= 0.5 and 2 <= point["n_steps"] <= 9 for point in points)
    assert {type(point["n_steps"]) for point in points} == {int}
    assert {point["steep"] for point in points} == {True, False}
    # Uniform in the logarithm, a quarter of the points would be below 8e-4; uniform in width, 0.2 %.
    assert sum(point["width_m"] < 8e-4 for point in points) >= 2


def test_maximise_turns_the_search_round(client):
    low = tune(client, n_trials=12).best
    high = tune(client, n_trials=12, maximise=True).best
    assert low is not None
    assert high is not None
    defaults = tuned.depth(tuned.ValleyParameters())["depth"]["value"]
    assert low.value < defaults - 0.2 < defaults + 0.2 < high.value


@pytest.mark.parametrize("sampler", trials.SAMPLERS)
def test_one_worker_and_the_same_seed_give_the_same_trials(client, tmp_path, sampler):
    ranges = {"east_m": (0, 1), "width_m": (1e-4, 1)}
    options = {"ranges": ranges, "sampler": sampler, "n_trials": 14}
    first, second, other = (
        [trial.params for trial in tune(client, out=tmp_path / name, seed=seed, **options).trials]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second
    assert first[1:] != other[1:]


@pytest.mark.parametrize("sampler", trials.SAMPLERS)
def test_a_study_stopped_at_every_trial_gives_the_same_trials_as_one_that_was_not(
    client, tmp_path, sampler
):
    options = {"ranges": {"east_m": (0, 1), "width_m": (1e-4, 1)}, "sampler": sampler}
    for n in range(1, 15):
        pieces = tune(client, n_trials=n, out=tmp_path / "pieces", **options)
        assert pieces.computed == 1
    whole = tune(client, n_trials=14, out=tmp_path / "whole", **options)
    assert outcomes(pieces) == outcomes(whole)


@pytest.mark.slow
def test_tpe_beats_random_search_of_the_same_budget_where_the_valley_is_narrow():
    """40 trials in five dimensions, 12 seeds: how much nearer to the bottom, in the logarithm."""
    space = dict.fromkeys("abcde", FloatDistribution(0.0, 1.0))
    left = [[_searched(space, sampler, seed) for seed in range(12)] for sampler in ("random", "tpe")]
    gain = np.log(left[0]) - np.log(left[1])
    error = gain.std(ddof=1) / math.sqrt(len(gain))
    assert gain.mean() > 2 * error, f"{gain.mean():.2f} +- {error:.2f}"


def _searched(space, sampler, seed, n_trials=40):
    with tempfile.TemporaryDirectory() as folder:
        driven = trials.journal(Path(folder), maximise=False)
        for n in range(n_trials):
            driven.sampler = trials.sampler(sampler, seed, n)
            trial = driven.ask(space)
            driven.tell(trial, sum((x - 0.3) ** 2 for x in trial.params.values()))
        return driven.best_value


def test_workers_that_search_at_the_same_time_do_not_ask_for_the_same_point(client):
    study = tune(client, parallel=8, n_trials=24)
    assert len({trial.params["east_m"] for trial in study.trials}) == 24


def test_a_point_that_comes_again_is_not_computed_again(client):
    study = tune(client, ranges={"n_steps": (4, 6)}, n_trials=12)
    assert len(study.trials) == 12
    n_different = len({trial.params["n_steps"] for trial in study.trials})
    assert study.computed == n_different


def test_a_default_outside_the_range_is_no_trial_but_is_compared_with(client):
    study = tune(client, ranges={"east_m": (0, 0.5)}, n_trials=4, confirm=2)
    assert all(trial.params["east_m"] <= 0.5 for trial in study.trials)
    assert study.plan["baseline"] == {"east_m": 0.8}
    assert "baseline" not in study.metrics
    assert study.metrics["baseline_confirmed"].value == pytest.approx(
        tuned.depth(tuned.ValleyParameters())["depth"]["value"]
    )


def test_without_defaults_there_is_nothing_to_compare_with(client):
    study = tune(client, "tuned:needy", metric="result", ranges={"east": (0, 1)})
    assert len(study.trials) == 4
    assert study.plan["baseline"] is None
    assert study.gain is None


# What can fail.


def test_failed_trials_are_kept_with_their_error_and_count(client):
    study = tune(
        client, "tuned:cliff", metric="height", ranges={"east": (0, 1), "north": (0, 1)}, n_trials=30
    )
    assert len(study.trials) == 30
    why = study.table()["reason"]
    for trial in study.trials:
        if trial.params["east"] > 0.8:
            assert why[trial.number].startswith("ValueError: nothing is east of 0.8")
        elif trial.params["north"] > 0.8:
            assert why[trial.number] == "metric height is not a finite number"
        assert (trial.state.name == "FAIL") == (max(trial.params.values()) > 0.8)
    assert study.counts["failed"] >= 3


def test_a_metric_that_is_not_there_ends_the_study_at_the_first_result(client):
    for _ in range(2):
        with pytest.raises(MissingMetricError, match="no metric 'hight'; it has height"):
            tune(client, "tuned:cliff", metric="hight", ranges={"east": (0, 1)}, n_trials=30)
    (study,) = Study.find()
    assert study.counts == {"complete": 0, "failed": 0, "waiting": 30}
    assert len(study.trials) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": {"east": (0, 1)}}, "unknown parameter 'east'; did you mean 'east_m'"),
        ({"ranges": {"east_m": (1, 0)}}, r"east_m = .* is no range: `low <= high`"),
        ({"ranges": {"east_m": (0, 2)}}, "east_m = 2.* m is outside its range: allowed is 0 to 1 m"),
        ({"ranges": {"n_steps": (1.5, 4)}}, "n_steps = 1.5 has the wrong type: allowed is 1 to 20"),
        ({"ranges": {"steep": (0, 1)}}, "allowed is true or false"),
        ({"ranges": {"seed": (1, 4)}}, "seed cannot be tuned"),
        ({"ranges": {}}, "nothing is varied"),
        ({"choices": {"east_m": [0.5, 0.6]}}, "given twice"),
        ({"fixed": {"east_m": 0.5}}, "given twice"),
        ({"fixed": {"n_steps": 99}}, "n_steps = 99 is outside its range"),
        ({"choices": {"n_steps": ["4"]}}, "two or more different"),
        ({"choices": {"n_steps": ["4", "4"]}}, "two or more different"),
        ({"choices": {"n_steps": ["4", "x"]}}, "is not a whole number"),
        ({"n_trials": 0}, "1 or more"),
        ({"sampler": "magic"}, "known are tpe, random"),
        ({"confirm": -1}, "0 or more"),
        ({"parallel": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    client, tmp_path, options, message
):
    with pytest.raises((SweepError, ParameterError), match=message):
        tune(client, out=tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_a_range_in_factors_must_begin_above_zero():
    ranges = {"score_min": (0.0, 1.0)}
    with pytest.raises(
        ParameterError, match=r"score_min = \[0.0, 1.0\] is no range: `low > 0` must hold"
    ):
        sweeps.tune("tuned:logarithmic", metric="result", ranges=ranges)


def test_another_study_in_the_same_folder_is_refused(client, tmp_path):
    tune(client, out=tmp_path / "study")
    with pytest.raises(SweepError, match="differs in ranges, seed"):
        tune(client, out=tmp_path / "study", ranges={"east_m": (0, 0.5)}, seed=2)


def test_trials_that_read_what_has_changed_since_are_not_compared_with_new_ones(client, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("2")
    asked = {"metric": "result", "ranges": {"x": (0.0, 1.0)}, "fixed": {"table": str(table)}}
    sweeps.tune("sweep_cells:reading", **asked, n_trials=2, client=client, progress=False)
    table.write_text("3")
    with pytest.raises(SweepError, match=r"computed with another .*table.txt: give another folder"):
        sweeps.tune("sweep_cells:reading", **asked, n_trials=3, client=client, progress=False)


def test_a_study_that_another_process_drives_is_refused(client, tmp_path):
    study = tune(client, out=tmp_path / "study")
    from filelock import FileLock

    with FileLock(tmp_path / "study" / "driver.lock"):
        assert study.status == "running"
        with pytest.raises(SweepError, match="by another process"):
            tune(client, out=tmp_path / "study")


# Interruptions.


def test_nothing_is_computed_when_nothing_is_missing(client):
    first = tune(client, confirm=2)
    assert first.computed == 4 + 2 * 2
    again = tune(None, confirm=2, on="tcp://127.0.0.1:1")  # nobody would answer
    assert again.computed == 0
    assert again.trials == first.trials


def test_more_trials_of_the_same_study_go_on_where_it_ended(client):
    first = tune(client, n_trials=4)
    trials_then = first.trials
    longer = tune(client, n_trials=9)
    assert longer.folder == first.folder
    assert longer.computed == 5
    assert longer.trials[:4] == trials_then
    assert first.resume(client=client, progress=False).trials == longer.trials


def test_a_result_that_a_worker_left_for_a_dead_driver_is_taken_and_not_computed(client, tmp_path):
    study = tune(client, n_trials=1, out=tmp_path / "study")
    trial = _ask(study.folder)
    point, task = trial.params, tasks.find_task("tuned:depth")
    key = task.key(task.check(point))
    trial.set_user_attr(trials.KEY, key)  # and here the driver dies
    row = {"key": key, "status": "complete", "result": {"metrics": {"depth": 0.125}}, "error": ""}
    row |= {"trace": "", "started": 0.0, "finished": 1.0, "seconds": 1.0, "host": "elsewhere"}
    records.leave(study.folder, "late", [row])
    resumed = tune(client, n_trials=2, out=tmp_path / "study")
    assert resumed.computed == 0
    assert resumed.trials[1].params == point
    assert resumed.trials[1].value == 0.125


def test_a_trial_that_a_driver_died_of_asking_for_does_not_count(client, tmp_path):
    study = tune(client, n_trials=2, out=tmp_path / "study")
    _ask(study.folder)  # and here the driver dies, before it is noted which result is waited for
    resumed = tune(client, n_trials=4, out=tmp_path / "study")
    whole = tune(client, n_trials=4, out=tmp_path / "whole")
    assert [trial.params for trial in resumed.trials] == [trial.params for trial in whole.trials]
    assert len(resumed.trials) == 4
    assert resumed.computed == 2


def test_the_defaults_are_asked_for_again_when_the_driver_died_of_asking(client, tmp_path):
    begun = tune(client, n_trials=1, out=tmp_path / "study").folder
    shutil.rmtree(begun / "records")
    (begun / trials.JOURNAL).unlink()  # as if the driver had only begun to ask
    trials.journal(tmp_path / "study", maximise=False).enqueue_trial({"east_m": 0.8})
    assert _ask(tmp_path / "study").params == {"east_m": 0.8}
    study = tune(client, out=tmp_path / "study")
    assert study.trials[0].params == {"east_m": 0.8}
    assert len(study.trials) == 4


def _ask(folder):
    """Ask for a trial as a driver does that dies before it notes which result is waited for."""
    driven = trials.journal(folder, maximise=False)
    driven.sampler = trials.sampler("tpe", 1, len(trials.asked(driven)))
    return driven.ask({"east_m": FloatDistribution(0.0, 1.0)})


def test_a_line_of_the_journal_that_was_cut_off_is_dropped(client, tmp_path):
    study = tune(client, out=tmp_path / "study")
    trials_then = study.trials
    with (study.folder / trials.JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert study.trials == trials_then
    longer = tune(client, n_trials=5, out=tmp_path / "study")
    assert longer.trials[:4] == trials_then
    assert len(longer.trials) == 5


DRIVER = """
import sys, tuned
from physics_twins import sweeps
folder, log = sys.argv[1:]
ranges = {"east": (0, 1), "north": (0, 1)}
study = sweeps.tune("tuned:logged", metric="result", ranges=ranges, fixed={"log": log, "dies": True},
    n_trials=16, on="threads", parallel=2, out=folder, progress=False)
print(len(study.trials), study.computed)
"""


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_is_resumed_with_the_exact_number_of_trials(tmp_path):
    folder, log = tmp_path / "study", tmp_path / "log"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", DRIVER, str(folder), str(log)]
    killed = subprocess.run(command, env=environment, check=False, timeout=60)
    assert killed.returncode == -9
    study = Study.load(folder)
    done = set(records.Records(folder).by_key)
    assert study.status == "unfinished"
    assert study.metrics["baseline"].value == pytest.approx(0.05)  # known although nothing is confirmed
    assert len(done) >= 5
    before = log.read_text().splitlines()
    resumed = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    assert resumed.stdout.split()[0] == b"16"
    assert int(resumed.stdout.split()[1]) == 16 - len(done)
    assert len(study.trials) == 16
    assert study.status == "complete"
    lines = Counter(log.read_text().splitlines())
    for trial in study.trials:
        written = f"{trial.params['east']} {trial.params['north']}"
        assert trial.value == tuned_value(trial.params)
        if trial.user_attrs[trials.KEY] in done:
            assert lines[written] == 1 == before.count(written)


def tuned_value(point):
    return (point["east"] - 0.3) ** 2 + (point["north"] - 0.6) ** 2


# Honesty.


def test_the_best_of_many_lucky_trials_is_not_confirmed(client):
    study = tune(client, "tuned:luck", metric="result", ranges={"east": (0, 1)}, n_trials=40, confirm=8)
    # The lowest of 40 standard normal numbers is -2.2 +- 0.5 (Harter 1961); a mean of 8 is 0 +- 0.35.
    best, confirmed = (study.metrics[name].value for name in ("best", "best_confirmed"))
    assert best < -1
    assert abs(confirmed) < 5 * 0.36
    assert confirmed > best
    assert list(study.confirmed(study.best.params)) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert study.gain.value < 5 * study.gain.error


def test_a_real_gain_is_confirmed_with_its_error_seed_by_seed(client):
    fixed = {"noise": 0.05, "n_steps": 5, "width_m": 0.01}
    study = tune(client, n_trials=15, fixed=fixed, confirm=4)
    confirmed = Sweep.load(study.folder / CONFIRMATION).dataset()["depth"]
    pairs = confirmed.sel(east_m=0.8) - confirmed.sel(east_m=study.best.params["east_m"])
    assert study.gain == study.metrics["gain_confirmed"]
    assert study.gain.value == pytest.approx(float(pairs.mean()))
    assert study.gain.error == pytest.approx(float(pairs.std(ddof=1)) / 2)
    assert study.gain.value == pytest.approx(0.25, abs=5 * 0.05)
    assert study.metrics["gain"].error == pytest.approx(0.05 * 2**0.5)
    assert study.metrics["best"].unit == "m"


def test_without_a_seed_there_is_nothing_to_confirm(client):
    study = tune(client, "tuned:needy", metric="result", ranges={"east": (0, 1)}, confirm=3)
    assert study.plan["seeds"] == []
    assert "best_confirmed" not in study.metrics


def test_the_error_of_a_value_is_kept_with_its_trial(client):
    study = tune(client, fixed={"noise": 0.25})
    table = pd.read_csv(study.folder / "trials.csv")
    assert table["error"].tolist() == pytest.approx([0.25] * 4)
    assert table["value"].tolist() == [trial.value for trial in study.trials]
    assert table["params_east_m"].tolist() == [trial.params["east_m"] for trial in study.trials]


# Results that are datasets or runs.


def test_a_number_of_a_dataset_is_a_metric(client):
    study = tune(client, "tuned:profile", metric="mean", ranges={"east": (0, 1)})
    assert study.trials[0].value == pytest.approx(0.5, abs=0.3)
    assert study.table()["error"][0] == pytest.approx(0.05, abs=0.05)
    with pytest.raises(MissingMetricError, match="no metric 'profiles'; it has mean"):
        tune(client, "tuned:profile", metric="profiles", ranges={"east": (0, 1)})


@pytest.mark.parametrize("value", [None, float("inf"), {"value": float("nan")}])
def test_a_value_that_is_not_finite_is_refused(value):
    record = {"status": "complete", "result": {"metrics": {"depth": value}}}
    with pytest.raises(MetricError, match="metric depth is not a finite number"):
        metric_of(record, "depth", Path())


@pytest.mark.slow
def test_a_notebook_is_tuned_like_a_function_and_its_runs_stay_in_the_study(tmp_path):
    path = write_notebook(tmp_path / "1_swing.ipynb", OPEN, PERIOD, SAVE)
    options = ["--metric", "period_s", "--range", "length_m=0.5:4", "--trials", "3", "--confirm", "0"]
    done = twins("tune", str(path), *options, "--on", "threads", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (study,) = Study.find(tmp_path / "runs")
    for trial in study.trials:
        assert trial.value == pytest.approx(2 * math.pi * math.sqrt(trial.params["length_m"] / 9.81))
    assert study.table()["error"].tolist() == pytest.approx([0.01] * 3)
    assert study.trials[0].params == {"length_m": 2.0}
    assert runs.find(tmp_path / "runs") == []


# Finding them again.


def test_studies_and_sweeps_are_listed_apart(client, tmp_path):
    study = tune(client)
    swept = sweeps.run("tuned:depth", [{"east_m": 0.1}], client=client, progress=False)
    assert [found.folder for found in Study.find()] == [study.folder]
    assert [found.folder for found in Sweep.find()] == [swept.folder]
    assert Study.resolve("depth-").folder == study.folder
    with pytest.raises(SweepError, match="fits 0 studies"):
        Study.resolve("nothing")
    with pytest.raises(SweepError, match="is no study"):
        Study.load(swept.folder)


# The command.


def twins(*arguments, cwd):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-m", "physics_twins.cli", *arguments]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_tunes_and_shows_what_it_found(tmp_path):
    options = [
        "--metric",
        "depth",
        "--range",
        "east_m=0:1",
        "--choices",
        "n_steps=5,6",
        "-p",
        "noise=0.1",
    ]
    options += ["--trials", "4", "--confirm", "2", "--on", "threads", "--no-report", "--quiet"]
    done = twins("tune", "tuned:depth", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 complete" in done.stdout
    assert "depth, 2 fresh seeds" in done.stdout
    assert "tuned:depth" in twins("studies", cwd=tmp_path).stdout
    shown = twins("studies", "show", "depth-", cwd=tmp_path).stdout
    assert "4 complete" in shown
    assert "depth, 2 fresh seeds" in shown
    assert sum(line.split()[1:2] == ["complete"] for line in shown.splitlines()) == 4


def test_the_command_refuses_in_one_line_without_heavy_imports(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    arguments = ["tune", "pulsar.recovery:recovery", "--metric", "recall", "--range", "duration=1:2"]
    code = f"import sys; sys.argv = ['twins', *{arguments}]\nfrom physics_twins import cli\n"
    code += "try:\n    cli.main()\nfinally:\n    "
    code += "print(sorted({'optuna', 'dask', 'torch'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean 'duration_s'" in done.stderr
    assert done.stdout == "[]\n"
