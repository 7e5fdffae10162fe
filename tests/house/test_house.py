"""The files that say what the environment is agree with each other."""

import hashlib
import json
import os
import re
import subprocess
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sources import ROOT

import physics_twins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# conda-forge's name: the package index's name, where they differ.
PYPI_NAMES = {
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "pytorch-cpu": "torch",
    "pytorch-lightning": "lightning-fabric",
}
# What conda needs besides: an interpreter, an installer and what builds the editable install.
ONLY_CONDA = {"python", "pip", "hatchling", "editables"}


def bounds(lines: list[str]) -> dict[str, str]:
    """Name and bounds of each requirement, in one spelling."""
    requirements = [Requirement(re.sub(r"(?<![<>=!])=(?!=)", "==", line)) for line in lines]
    names = [canonicalize_name(PYPI_NAMES.get(r.name, r.name)) for r in requirements]
    return {name: str(r.specifier) for name, r in zip(names, requirements, strict=True)}


def declared(*extras: str) -> dict[str, str]:
    optional = PROJECT["optional-dependencies"]
    return bounds(PROJECT["dependencies"] + [line for extra in extras for line in optional[extra]])


def conda(path: str) -> dict[str, str]:
    entries = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    lines = [entry for entry in entries if isinstance(entry, str)]
    lines += [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    found = bounds([line for line in lines if not line.startswith("-e ")])
    return {name: spec for name, spec in found.items() if name not in ONLY_CONDA}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_conda_environment_holds_exactly_what_the_project_declares():
    assert conda("environment.yml") == declared("lab", "book", "dev")


def test_conda_environment_installs_the_project_itself():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "-e ." in entries[-1]["pip"]


def test_binder_environment_holds_exactly_the_library_and_the_lab():
    assert conda("binder/environment.yml") == declared("lab")


def test_binder_environment_names_no_local_path():
    entries = yaml.safe_load((ROOT / "binder/environment.yml").read_text())["dependencies"]
    assert all(isinstance(entry, str) for entry in entries)


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_python_is_one_that_the_project_allows(path):
    entries = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    wanted = next(entry for entry in entries if isinstance(entry, str) and entry.startswith("python"))
    assert wanted in ("python" + PROJECT["requires-python"], "python=3.11")


def test_comparison_sees_another_bound():
    assert bounds(["pytorch-cpu>=2.6,<2.14"]) == bounds(["torch<2.14,>=2.6"])
    assert bounds(["pytorch-cpu>=2.6"]) != bounds(["torch>=2.7"])
    assert bounds(["python=3.11"]) == {"python": "==3.11"}


@pytest.mark.parametrize("name", sorted(declared("lab", "book", "dev")))
def test_constraints_pin_every_dependency_within_its_bounds(name):
    allowed = Requirement(name + declared("lab", "book", "dev")[name]).specifier
    assert pins()[name] in allowed


def test_constraints_hold_plain_versions_only():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert [line for line in packages if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []


def test_every_place_names_the_same_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {PROJECT["version"], citation["version"], version("physics-twins")} == {
        physics_twins.__version__
    }


def test_citation_has_what_the_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("path", ["binder/postBuild", "binder/start", ".ci/run"])
def test_script_is_executable(path):
    assert os.access(ROOT / path, os.X_OK)


def test_binder_start_hands_over_to_the_server():
    assert (ROOT / "binder/start").read_text().rstrip().endswith('exec "$@"')


def test_every_make_command_is_known_to_the_launcher():
    targets = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    launcher = (ROOT / "bootstrap.py").read_text()
    wanted = set(targets[1].split()) - {"help", "clean"}
    assert [name for name in wanted if f'"{name}"' not in launcher] == []


def test_models_are_the_same_bytes_where_git_changes_line_ends(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    clone = ["git", "-c", "core.autocrlf=true", "clone", "--quiet", "--depth", "1"]
    subprocess.run([*clone, f"file://{ROOT}", str(tmp_path / "clone")], check=True)
    listed = ["git", "-C", str(ROOT), "ls-tree", "-r", "--name-only", "HEAD", "models"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert len(names) > 10
    manifests = [name for name in names if name.endswith("manifest.json")]
    for name in manifests:
        folder = (tmp_path / "clone" / name).parent
        for each, record in json.loads((folder / "manifest.json").read_text())["files"].items():
            assert hashlib.sha256((folder / each).read_bytes()).hexdigest() == record["sha256"], each
