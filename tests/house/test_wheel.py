"""The installed wheel works in any folder: no file of the checkout is needed."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from small_notebooks import write_notebook
from sources import ROOT

SMALL = ["-p", "n_channels=64", "-p", "duration_s=1.0", "-p", "dm_max_pc_cm3=64"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An environment with the wheel and what it depends on, but without the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True)
    (wheel,) = folder.glob("physics_twins-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    # The dependencies of this environment alone: what a `.pth` names is read for packages, and the
    # checkout's own `.pth` there is not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Templates of reports lie beside the packages. Kernels do too, but theirs would be the checkout's.
    templates = environment / "share" / "jupyter" / "nbconvert"
    templates.parent.mkdir(parents=True, exist_ok=True)
    templates.symlink_to(Path(sys.prefix) / "share" / "jupyter" / "nbconvert")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([environment / "bin" / "python", *install], check=True, env=alone())
    return environment


def alone() -> dict[str, str]:
    """This environment's variables without those that lead back to the checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV") and not name.startswith("PHYSICS_TWINS_")
    }


@pytest.fixture
def twins(installed, tmp_path):
    def call(*arguments: str) -> str:
        command = [installed / "bin" / "twins", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=alone(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.mark.slow
def test_the_library_is_that_of_the_wheel(installed, tmp_path):
    where = "import physics_twins, twin_panels; print(physics_twins.__file__, twin_panels.__file__)"
    command = [installed / "bin" / "python", "-c", where]
    found = subprocess.run(
        command, cwd=tmp_path, env=alone(), capture_output=True, text=True, check=True
    )
    assert all(Path(path).is_relative_to(installed) for path in found.stdout.split())


@pytest.mark.slow
def test_a_notebook_runs_from_any_folder(twins, tmp_path):
    assert "pulsar/4_infer" in twins("notebooks")
    assert "dm_max_pc_cm3" in twins("notebooks", "pulsar/4_infer")
    told = twins("run", "pulsar/4_infer", *SMALL, "--quiet", "--out", "found")
    assert "found: complete" in told
    assert (tmp_path / "found" / "report.html").is_file()
    assert (tmp_path / "found" / "candidates.csv").is_file()


@pytest.mark.slow
def test_a_sweep_runs_from_any_folder(twins, tmp_path):
    axes = ["--grid", "fluence_jy_ms=0.5,2", "-p", "n_channels=32", "-p", "duration_s=0.5"]
    told = twins("sweep", "pulsar.recovery:recovery", *axes, "--on", "threads", "--quiet", "--out", "s")
    assert "2 complete" in told
    assert (tmp_path / "s" / "result.nc").is_file()
    assert list((tmp_path / "s" / "report").glob("**/report.html"))


@pytest.mark.slow
def test_the_shipped_models_come_with_the_wheel(twins, installed, tmp_path):
    listed = twins("models")
    for name in ("calorimeter-flow/4", "pulsar-classifier/4"):
        assert name in listed
    assert "damaged" not in listed
    look = "from physics_twins.pulsar.model import load_classifier; print(load_classifier().address)"
    command = [installed / "bin" / "python", "-c", look]
    loaded = subprocess.run(command, cwd=tmp_path, env=alone(), capture_output=True, text=True)
    assert loaded.stdout.strip() == "pulsar-classifier/4", loaded.stderr


@pytest.mark.slow
def test_kernels_look_for_models_where_the_command_does(twins, tmp_path):
    look = "from physics_twins import models, runs\nrun = runs.open_run(run_dir)\n"
    look += (
        "run.record({'same': str(models.roots()[0]) == " + repr(str(tmp_path / "runs/models")) + "})"
    )
    write_notebook(
        tmp_path / "look.ipynb",
        look,
        parameters="seed = 1",
        models=("physics_twins.parameters:Execution",),
    )
    twins("run", str(tmp_path / "look.ipynb"), "--out", "looked", "--quiet")
    assert json.loads((tmp_path / "looked" / "metrics.json").read_text()) == {"same": 1}
