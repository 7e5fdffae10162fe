"""The commands `twins sweep` and `twins sweeps`."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_notebooks import write_project
from sources import TESTS

from physics_twins import cli, clusters
from physics_twins.cli import __main__ as command
from physics_twins.sweeps import tasks

SLOW_IMPORTS = ("papermill", "nbformat", "xarray", "numpy", "dask", "distributed", "torch", "scipy")


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as shared:
        yield shared


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("clone"))


@pytest.fixture(autouse=True)
def inside(project, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(project)


@pytest.fixture
def twins(monkeypatch, capsys):
    """Call the command in this process; return status, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["twins", *map(str, arguments)])
        monkeypatch.setattr(command, "_skip_slow_grammar", lambda: None)
        before = signal.getsignal(signal.SIGTERM)
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def threads(client, monkeypatch):
    """Let every cluster be the one that is there."""
    monkeypatch.setattr(clusters, "connect", lambda *_, **__: Borrowed(client))


class Borrowed:
    """A client that stays when a sweep gives it back."""

    def __init__(self, client):
        self.client = client

    def __enter__(self):
        return self.client

    def __exit__(self, *exception):
        pass


def planned(twins, *arguments):
    """The rows of a plan as tuples of text, the header first, and the line below it."""
    status, out, err = twins("sweep", *arguments, "--plan")
    assert (status, err) == (0, "")
    *rows, last = out.splitlines()
    return [tuple(row.split()) for row in rows], last


@pytest.fixture
def no_cluster(monkeypatch):
    monkeypatch.setattr(clusters, "connect", lambda *_, **__: pytest.fail("a cluster started"))


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (("--grid", "x=1,2.5"), ["1.0", "2.5"]),
        (("--grid", "x=0:1:3"), ["0.0", "0.5", "1.0"]),
        (("--grid", "x=-1:1:2"), ["-1.0", "1.0"]),
    ],
)
def test_a_plan_lists_the_values_of_an_axis(options, values, twins, no_cluster):
    rows, last = planned(twins, "sweep_cells:square", *options)
    assert rows == [("x",), *[(value,) for value in values]]
    assert last == f"{len(values)} cells of sweep_cells:square"


def test_axes_multiply_the_last_fastest_with_fixed_parameters_first(twins, no_cluster):
    options = ("-p", "n_swings=7", "--grid", "length_m=1,2", "--seeds", "2")
    rows, last = planned(twins, "sweep_cells:period", *options)
    assert rows[0] == ("n_swings", "length_m", "seed")
    assert rows[1:] == [("7", m, seed) for m in ("1.0", "2.0") for seed in ("1", "2")]
    assert last == "4 cells of sweep_cells:period"


def test_seeds_may_be_listed(twins, no_cluster):
    rows, _ = planned(twins, "sweep_cells:period", "--seeds", "5,3,8")
    assert rows[1:] == [("5",), ("3",), ("8",)]


def test_steps_of_a_whole_number_are_whole(twins, no_cluster):
    rows, _ = planned(twins, "sweep_cells:period", "--grid", "n_swings=1:10:4")
    assert rows[1:] == [("1",), ("4",), ("7",), ("10",)]


def test_steps_of_a_logarithmic_parameter_are_factors(twins, no_cluster):
    what = "physics_twins.pulsar.recovery:recovery"
    rows, _ = planned(twins, what, "--grid", "fluence_jy_ms=0.1:10:3")
    assert [float(value) for (value,) in rows[1:]] == [0.1, pytest.approx(1.0), 10.0]


def test_sobol_points_lie_in_their_ranges_with_whole_numbers_whole(twins, no_cluster):
    ranges = ("--range", "length_m=2:4", "--range", "n_swings=1:8")
    rows, last = planned(twins, "sweep_cells:period", "--sobol", "8", *ranges)
    assert last.startswith("8 cells")
    assert all(2 <= float(length) <= 4 for length, _ in rows[1:])
    assert sorted(n for _, n in rows[1:]) == [*"12345678"]


def test_sobol_points_go_with_every_grid_point(twins, no_cluster):
    options = ("--sobol", "2", "--range", "length_m=2:4", "--grid", "n_swings=1,2")
    rows, _ = planned(twins, "sweep_cells:period", *options)
    assert rows[0] == ("length_m", "n_swings")
    (a, b), _ = zip(*rows[1::2], strict=True)
    assert rows[1:] == [(a, "1"), (a, "2"), (b, "1"), (b, "2")]


def test_a_long_plan_is_shown_by_its_ends(twins, no_cluster):
    rows, last = planned(twins, "sweep_cells:square", "--grid", "x=0:99:100")
    assert len(rows) == 17
    assert rows[-1] == ("99.0",)
    assert last.startswith("100 cells")


def test_a_plan_writes_nothing(twins, project, no_cluster):
    planned(twins, "sweep_cells:square", "--grid", "x=7,8,9")
    assert not [*(project / "runs").rglob("plan.json")]


@pytest.mark.parametrize("how", [("--plan",), ()])
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("sweep_cells:square",), ("nothing is varied", "--grid")),
        (("sweep_cells:square", "--grid", "x"), ("--grid x: write it as NAME=...",)),
        (("sweep_cells:square", "--grid", "=1"), ("--grid =1: write it as NAME=...",)),
        (("sweep_cells:square", "--grid", "x="), ("--grid x=: write it as",)),
        (("sweep_cells:square", "--grid", "y=1"), ("unknown parameter 'y'",)),
        (("sweep_cells:square", "--grid", "x=one"), ("x = 'one' is not a number",)),
        (("sweep_cells:square", "--grid", "x=1,,2"), ("x = '' is not a number",)),
        (("sweep_cells:square", "--grid", "x=1:2"), ("x = '1:2' is not a number",)),
        (("sweep_cells:square", "--grid", "x=1:2:many"), ("x=1:2:many", "x=LOW:HIGH:N")),
        (("sweep_cells:square", "--grid", "x=1:2:2.5"), ("x=1:2:2.5", "x=LOW:HIGH:N")),
        (("sweep_cells:square", "--grid", "x=2:1:3"), ("LOW below HIGH",)),
        (("sweep_cells:square", "--grid", "x=0:inf:3"), ("LOW below HIGH",)),
        (("sweep_cells:square", "--grid", "x=0:1:1"), ("N 2 or more",)),
        (("sweep_cells:square", "--grid", "x=nan"), ("x = nan",)),
        (("sweep_cells:square", "--grid", "x=1", "--grid", "x=2"), ("x is given twice",)),
        (("sweep_cells:square", "--grid", "x=1", "-p", "x=2"), ("x is given twice",)),
        (("sweep_cells:period", "--grid", "seed=1", "--seeds", "3"), ("seed is given twice",)),
        (("sweep_cells:period", "--grid", "length_m=1000"), ("length_m = 1000.0 m", "0.01 to 100 m")),
        (("sweep_cells:square", "--seeds", "3"), ("unknown parameter 'seed'",)),
        (("sweep_cells:period", "--seeds", "0"), ("--seeds 0: give how many, 1 or more",)),
        (("sweep_cells:period", "--seeds", "1,x"), ("--seeds 1,x:",)),
        (("sweep_cells:square", "--sobol", "4"), ("--sobol N and --range", "belong together")),
        (("sweep_cells:square", "--range", "x=0:1"), ("--sobol N and --range", "belong together")),
        (("sweep_cells:square", "--sobol", "4", "--range", "x=1"), ("--range x=1", "x=LOW:HIGH")),
        (("sweep_cells:square", "--sobol", "4", "--range", "x=1:2:3"), ("x=LOW:HIGH",)),
        (("sweep_cells:square", "--sobol", "4", "--range", "x=2:1"), ("must go upwards",)),
        (
            ("sweep_cells:square", "--grid", "x=1", "--sobol", "2", "--range", "x=0:1"),
            ("x is given twice",),
        ),
        (("sweep_cells:none", "--grid", "x=1"), ("no function 'none'",)),
        (("pulsar/9_dance", "--grid", "x=1"), ("unknown notebook 'pulsar/9_dance'",)),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_with_status_2(how, arguments, parts, twins, no_cluster):
    status, out, err = twins("sweep", *arguments, *how)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("twins: ")
    for part in parts:
        assert part in err


def test_an_unknown_cluster_and_other_peoples_folders_are_refused(twins, tmp_path, monkeypatch):
    monkeypatch.setattr("physics_twins.clusters.client.CONNECT_TIMEOUT_S", 0.2)
    (tmp_path / "thesis.tex").touch()
    call = ("sweep", "sweep_cells:square", "--grid", "x=1,2", "--no-report", "--quiet")
    for option, part in (
        (("--on", "slrum"), "did you mean 'slurm'"),
        (("--on", "tcp://127.0.0.1:9"), "no Dask scheduler answers"),
        (("--out", tmp_path), "holds other files"),
    ):
        status, out, err = twins(*call, *option)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert part in err


def test_a_farm_that_cannot_work_is_told_in_one_line(twins, threads, monkeypatch):
    older = replace(tasks.find_task("sweep_cells:square"), sha256="older")
    monkeypatch.setattr("physics_twins.sweeps.farm._known", lambda find, name: older)
    call = ("sweep", "sweep_cells:square", "--grid", "x=5,6", "--no-report", "--quiet")
    status, _, err = twins(*call)
    assert (status, err.count("\n")) == (2, 1)
    assert "restart its workers" in err


def test_a_sweep_prints_its_folder_what_it_computed_and_where_the_data_are(twins, threads, project):
    call = ("sweep", "sweep_cells:square", "--grid", "x=10,11", "--no-report", "--quiet")
    status, out, err = twins(*call)
    assert (status, err) == (0, "")
    folder, _, counts = out.splitlines()[0].partition(": ")
    assert counts == "2 complete"
    assert "computed now: 2" in out
    assert (project / folder / "result.nc").is_file()
    assert "computed now: 0" in twins(*call)[1]
    assert twins("sweep", folder, "--no-report", "--quiet")[1] == twins(*call)[1]


def test_a_sweep_with_failed_cells_has_status_1_and_tells_them(twins, threads):
    call = ("sweep", "sweep_cells:awkward", "--grid", "x=2,3", "--no-report", "--quiet")
    status, out, err = twins(*call)
    assert status == 1
    assert "1 complete, 1 failed" in out
    assert "failed at {'x': 3.0}: ValueError: three is too much" in out
    assert err == "twins: failed cells are kept; --retry-failed computes them again\n"
    assert "computed now: 0" in twins(*call)[1]
    assert "computed now: 1" in twins(*call, "--retry-failed")[1]


def test_a_sweep_given_by_its_folder_has_its_own_points_and_can_be_planned(twins, threads):
    out = twins("sweep", "sweep_cells:square", "--grid", "x=12,13", "--no-report", "--quiet")[1]
    folder = out.partition(":")[0]
    assert planned(twins, folder) == ([("x",), ("12.0",), ("13.0",)], "2 cells of sweep_cells:square")
    for option in (("--grid", "x=1"), ("--range", "x=1:2"), ("-p", "x=1"), ("--out", "x")):
        status, _, err = twins("sweep", folder, *option)
        assert (status, err.count("\n")) == (2, 1)
        assert "a sweep with its own points" in err


def test_sweeps_are_listed_and_shown(twins, threads):
    call = ("sweep", "sweep_cells:awkward", "--grid", "x=1,3,5", "--no-report", "--quiet")
    folder = twins(*call)[1].partition(":")[0]
    (line,) = [line for line in twins("sweeps")[1].splitlines() if line.startswith(folder)]
    assert line.split()[1:5] == ["failed", "2", "1", "0"]
    name = Path(folder).name
    told = json.loads(twins("sweeps", "show", name, "--json")[1])
    assert told["counts"] == {"complete": 2, "failed": 1, "waiting": 0}
    assert [each["point"] for each in told["failures"]] == [{"x": 3.0}]
    status, shown, _ = twins("sweeps", "show", name)
    assert status == 0
    assert "2 complete, 1 failed" in shown
    assert "<xarray.Dataset>" in shown
    assert "failed at {'x': 3.0}: ValueError: three is too much" in shown


def test_an_unknown_sweep_is_refused_with_status_2(twins):
    status, _, err = twins("sweeps", "show", "zzz")
    assert (status, err) == (2, "twins: 'zzz' fits 0 sweeps; `twins sweeps` lists them\n")


def test_damaged_records_do_not_hide_the_other_sweeps(twins, threads, project):
    for x in (20, 21):
        call = ("sweep", "sweep_cells:square", "--grid", f"x={x}", "--no-report", "--quiet")
        folder = twins(*call)[1].partition(":")[0]
    for path in (project / folder / "records").iterdir():
        path.write_bytes(b"x" * 5000)
    listed = twins("sweeps")[1].splitlines()
    assert [line.split()[1:5] for line in listed if line.startswith(folder)] == [
        ["unfinished", "0", "0", "1"]
    ]
    assert sum(" complete " in line for line in listed) >= 2


def test_no_sweeps_are_told_as_such(twins, tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "nothing"))
    assert twins("sweeps") == (0, "no sweeps here\n", "")


def test_a_refusal_imports_nothing_slow(project):
    code = f"""
import sys
from physics_twins import cli
sys.argv = ["twins", "sweep", "pendulum/1_simulate", "--grid", "length_m=1,1000"]
try:
    cli.main()
except SystemExit as end:
    print(end.code, sorted(set(sys.modules) & set({SLOW_IMPORTS!r})))
"""
    places = {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(TESTS)])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=os.environ | places,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "2 []"
    assert "length_m = 1000.0 m is outside its range" in done.stderr
