import os
from pathlib import Path

import pytest
from lab_browser import running_browser, why_no_browser
from slurm import PrivateSlurm, why_not

from physics_twins.data import project

# Real files beside the checkout; set here so that kernels and workers find them too.
_REAL_FILES = Path(__file__).resolve().parents[2] / "shared" / "data"
if _REAL_FILES.is_dir():
    os.environ.setdefault("PHYSICS_TWINS_DATA", str(_REAL_FILES))


# What there is once: tests that need it run one after the other when several processes share the work.
_ONLY_ONE = {"slurm", "browser"}
if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a core of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep each file in one process, and all files that need the one SLURM or the one browser."""
    needed: dict = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        needed.setdefault(item.path, set()).update(_ONLY_ONE & fixtures)
    for item in items:
        group = min(needed[item.path], default=str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def no_shipped_models(tmp_path, monkeypatch):
    """Hide the models that ship with the project: a test sees what it saved alone."""
    monkeypatch.setattr(project, "beside_package", lambda: tmp_path / "elsewhere")


@pytest.fixture(scope="session")
def slurm():
    """A SLURM of this session's own; a test that uses it is skipped where its programs are missing."""
    if reason := why_not():
        pytest.skip(reason)
    with PrivateSlurm() as private:
        yield private


@pytest.fixture(scope="module")
def browser():
    """A browser; a test that uses it is skipped where there is none.

    Of one module: while it is open, an event loop runs, which other tests must not see.
    """
    if reason := why_no_browser():
        pytest.skip(reason)
    with running_browser() as running:
        yield running
