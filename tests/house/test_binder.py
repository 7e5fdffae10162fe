"""What Binder would build and start, as far as can be seen without building it."""

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sources import ROOT

BINDER = ROOT / "binder"
SCRIPTS = ("postBuild", "start")
LARGEST_BYTES = 2e9
GPU = re.compile(r"cuda|cudnn|nvidia|pytorch-gpu|\bcu1\d\d\b|rocm", re.IGNORECASE)
LOCAL_PATH = re.compile(r"(?<![\w.$}])/(home|root|work|Users|tmp|opt|srv|mnt|data)\b")


def names() -> list[str]:
    entries = yaml.safe_load((BINDER / "environment.yml").read_text())["dependencies"]
    return [re.split(r"[<>=! ]", entry)[0] for entry in entries]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_bash_that_parses_and_stops_at_an_error(name):
    text = (BINDER / name).read_text()
    assert text.startswith("#!/bin/bash\n")
    assert subprocess.run(["bash", "-n", str(BINDER / name)], check=False).returncode == 0


def test_a_failing_step_fails_the_build():
    assert "set -euo pipefail" in (BINDER / "postBuild").read_text()


@pytest.mark.parametrize(("limit", "cores"), [("2.0", "2"), ("0.5", "1"), ("", "1"), (None, "1")])
def test_start_hands_its_command_over_with_as_many_threads_as_cores(limit, cores):
    given = {"PATH": "/usr/bin:/bin"} | ({} if limit is None else {"CPU_LIMIT": limit})
    shown = ["bash", "-c", 'echo "$NUMBA_NUM_THREADS $OMP_NUM_THREADS $0"', "server"]
    done = subprocess.run(
        [BINDER / "start", *shown], env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{cores} {cores} server\n"


@pytest.mark.parametrize("name", ["environment.yml", *SCRIPTS, "start.jupyterlab-workspace"])
def test_nothing_names_a_folder_of_some_machine_or_a_gpu(name):
    text = re.sub(r"(?m)^\s*#.*$", "", (BINDER / name).read_text())
    assert LOCAL_PATH.findall(text) == []
    assert GPU.findall(text) == []


def test_torch_is_the_build_without_gpu_and_nothing_is_for_developers():
    assert "pytorch-cpu" in names()
    assert not {"pytorch", "pytest", "ruff", "jupyter-book"} & set(names())


def installed_bytes(names: list[str]) -> float:
    """What these packages and all they need take here, unpacked, without GPU libraries."""
    todo, seen, total = list(names), set(), 0.0
    while todo:
        name = canonicalize_name(todo.pop())
        if name in seen or name.startswith("nvidia-") or name in ("triton", "physics-twins"):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # only on other systems, or an extra that is not here
            continue
        total += sum(file.size or 0 for file in found.files or ())
        needed = map(Requirement, found.requires or ())
        todo += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    assert len(seen) > 100
    return total


def test_the_packages_take_less_than_two_gigabytes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["lab"]
    assert installed_bytes([Requirement(line).name for line in lines]) < LARGEST_BYTES


def test_nothing_is_downloaded_after_the_environment_is_made():
    installs = re.findall(r"pip install.*", (BINDER / "postBuild").read_text())
    assert len(installs) == 1
    assert {"--no-deps", "--no-build-isolation"} <= set(installs[0].split())
    assert re.findall(r"curl|wget|fetch|https?://", (BINDER / "postBuild").read_text()) == []


def test_the_start_page_is_opened_by_either_address():
    build = (BINDER / "postBuild").read_text()
    assert "for name in start default" in build
    assert 'workspaces import --name="$name" binder/start.jupyterlab-workspace' in build
