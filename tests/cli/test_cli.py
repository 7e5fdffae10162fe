import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_notebooks import OPEN, write_notebook, write_project
from sources import TESTS

from physics_twins import runs

NAME = "pendulum/1_simulate"
SLOW_IMPORTS = ("papermill", "nbformat", "nbconvert", "xarray", "numpy", "dask", "distributed", "torch")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp("clone"))
    wait = "print('waiting', flush=True)\nimport time\ntime.sleep(60)"
    write_notebook(folder / "notebooks" / "pendulum" / "3_wait.ipynb", OPEN, wait)
    return folder


def command(*arguments):
    return [sys.executable, "-m", "physics_twins.cli", *arguments]


def environment():
    """Let the command find the test's models, as pytest does."""
    hidden = {key: value for key, value in os.environ.items() if key != "PHYSICS_TWINS_RUNS"}
    return hidden | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(TESTS)])}


def call(project, *arguments):
    return subprocess.run(
        arguments, cwd=project, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture
def twins(project):
    return lambda *arguments: call(project, *command(*arguments))


@pytest.fixture(scope="module")
def finished(project):
    return call(project, *command("run", NAME, "-p", "length_m=9.81"))


def test_a_finished_run_prints_its_address_and_metrics(finished, project):
    assert finished.returncode == 0, finished.stderr
    address = finished.stdout.partition(":")[0]
    assert (project / address / "report.html").is_file()
    assert "6.283 +- 0.010 s" in finished.stdout


def test_progress_goes_to_standard_error(finished):
    assert "cell 4 of 4" in finished.stderr
    assert "cell" not in finished.stdout


def test_the_same_run_again_is_found(finished, twins):
    again = twins("run", NAME, "-p", "length_m=9.81")
    assert again.returncode == 0
    assert again.stdout.partition(":")[0] == finished.stdout.partition(":")[0]
    assert "not computed again" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("-p", "length_m=1000"), ("length_m", "1000", " m ", "0.01 to 100 m")),
        (("-p", "lenght_m=1"), ("lenght_m", "did you mean 'length_m'")),
        (("-p", "n_swings=few"), ("n_swings", "whole number")),
        (("-p", "seed\nimport os=1"), ("unknown parameter",)),
        (("-p", "seed"), ("NAME=",)),
        (("--on", "slrum"), ("did you mean 'slurm'",)),
        (("-p", "log_path=none.csv"), ("log_path", "no such file")),
        (("--parameters", "none.json"), ("none.json",)),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_with_status_2(arguments, parts, twins):
    refused = twins("run", NAME, *arguments)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    for part in parts:
        assert part in refused.stderr


def test_an_unknown_notebook_is_refused_with_status_2(twins):
    refused = twins("run", "pendulum/9_dance")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_refusal_imports_nothing_slow(project):
    code = f"""
import sys
from physics_twins import cli
sys.argv = ["twins", "run", {NAME!r}, "-p", "length_m=1000"]
try:
    cli.main()
except SystemExit as end:
    print(end.code, sorted(set(sys.modules) & set({SLOW_IMPORTS!r})))
"""
    done = call(project, sys.executable, "-c", code)
    assert done.stdout.strip() == "2 []"


def test_a_failed_notebook_gives_status_1_with_cell_error_and_place(twins, project):
    failed = twins("run", "pendulum/2_break", "--quiet")
    assert failed.returncode == 1
    assert "cell 3 of 4 (Divide): ZeroDivisionError: division by zero" in failed.stderr
    assert failed.stderr.count("\n") == 2
    place = failed.stderr.strip().rpartition(" ")[2]
    assert (project / place / "2_break.ipynb").is_file()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_marked_cancelled_and_keeps_its_output(project, stop, tmp_path):
    going = subprocess.Popen(
        command("run", "pendulum/3_wait", "--out", str(tmp_path / "mine")),
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert going.stderr is not None
    assert any("waiting" in line for line in iter(going.stderr.readline, ""))
    going.send_signal(stop)
    begun = time.monotonic()
    messages = going.communicate()[1]
    assert time.monotonic() - begun < 10
    assert going.returncode == 130
    assert messages == "twins: stopped; the partial output is kept\n"
    run = runs.resolve(tmp_path / "mine")
    assert (run.status, run.provenance["cell"]) == ("cancelled", "3 of 3 (Swing)")
    assert "waiting" in (run.folder / "3_wait.ipynb").read_text()


def test_parameters_come_from_a_file_and_the_command_line_comes_before_it(twins, tmp_path):
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps({"length_m": 5000, "n_swings": 7}))
    assert "length_m = 5000" in twins("run", NAME, "--parameters", str(path)).stderr
    both = twins("run", NAME, "--parameters", str(path), "-p", "length_m=9.81", "-p", "n_swings=0")
    assert "n_swings = 0" in both.stderr


def test_a_named_folder_with_other_files_is_refused(twins, tmp_path):
    (tmp_path / "thesis.tex").touch()
    refused = twins("run", NAME, "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "other files" in refused.stderr


def test_runs_are_listed_with_status_notebook_and_metrics(finished, twins):
    address = finished.stdout.partition(":")[0]
    (line,) = [line for line in twins("runs").stdout.splitlines() if line.startswith(f"{address} ")]
    assert line.split()[1:3] == ["complete", NAME]
    assert "n_swings 3" in line


def test_a_run_is_shown_and_compared_by_its_address(finished, twins):
    address = finished.stdout.partition(":")[0]
    shown = json.loads(twins("runs", "show", address).stdout)
    assert shown["parameters"]["length_m"] == 9.81
    assert "swings.nc" in shown["files"]
    compared = twins("runs", "compare", address, Path(address).name)
    assert compared.returncode == 0
    assert "period_s" in compared.stdout
    assert twins("runs", "show", "zzz").returncode == 2


def test_notebooks_are_listed_and_described(twins):
    assert f"{NAME}  " in twins("notebooks").stdout
    described = twins("notebooks", NAME).stdout
    line = next(line for line in described.splitlines() if line.startswith("length_m"))
    assert line.split("  ")[0] == "length_m"
    assert "2.0" in line
    assert "0.01 to 100 m" in line
    assert line.endswith("Length of the string")


def test_a_batch_system_without_a_description_says_what_to_write(twins, tmp_path):
    shown = twins("cluster", "slurm", "--show")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "# AN EXAMPLE." in shown.stdout
    tried = twins("cluster", "slurm")
    assert tried.returncode == 2
    assert "jobqueue.yaml" in tried.stderr
    assert tried.stderr.count("\n") == 1


def test_without_a_name_clusters_are_listed_with_what_they_lack(twins):
    listed = twins("cluster")
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "processes of" in lines["local"]
    assert "commands not found on this machine" in next(v for k, v in lines.items() if "oar" in v)
