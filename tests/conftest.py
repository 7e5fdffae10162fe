import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
from lab_browser import running_browser, why_no_browser
from slurm import PrivateSlurm, why_not

from physics_twins.data import listen

# Real files beside the checkout; set here so that kernels and workers find them too.
_REAL_FILES = Path(__file__).resolve().parents[2] / "shared" / "data"
if _REAL_FILES.is_dir():
    os.environ.setdefault("PHYSICS_TWINS_DATA", str(_REAL_FILES))


# What notebooks train is saved among the user's own models: here among this session's.
os.environ.setdefault("PHYSICS_TWINS_MODELS", tempfile.mkdtemp(prefix="twins-models-"))

# What there is once: all that needs it goes to one process when several share the work.
_TOGETHER = {
    "tests/browser/": "browser",
    "tests/slurm/": "slurm",
    "tests/widgets/test_run_panel.py": "slurm",
}
_ONLY_THERE = {"slurm": "slurm"}  # fixture, and where its tests must be
# What takes longest is begun first, so that nobody waits for it in the end.
_FIRST = ("tests/browser/", "tests/slurm/", "tests/calorimeter/", "tests/pulsar/")
if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a core of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _process_of(nodeid):
    """Return what tests of one process have in common: their file, or what there is once."""
    path = nodeid.partition("::")[0]
    return next((name for place, name in _TOGETHER.items() if path.startswith(place)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Share the work between processes file by file: what a module's fixtures make is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _process_of(nodeid)

    config.option.loadscopereorder = False
    return ByFile(config, log)


class _ToldAtOnce:
    """Print each failure when it happens: a run that is stopped has then told what it found."""

    def __init__(self, terminal):
        self.terminal = terminal

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.terminal.write_line(f"\n{report.nodeid}, {report.when}\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)  # after the terminal is there
def pytest_configure(config):
    if terminal := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(_ToldAtOnce(terminal))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture, place in _ONLY_THERE.items():
            if fixture in getattr(item, "fixturenames", ()) and _process_of(item.nodeid) != place:
                raise pytest.UsageError(f"{item.nodeid} needs {fixture}: put it into tests/{place}/")
    items.sort(key=lambda item: next((n for n, p in enumerate(_FIRST) if item.nodeid.startswith(p)), 9))


@pytest.fixture(autouse=True)
def _own_listener():
    """Let no run that an earlier test has opened hear what this one reads."""
    listen(lambda source: None)


@pytest.fixture(autouse=True)
def _no_forgotten_client():
    """Fail the test after which Dask would ask for a client that is gone, in every later one too."""
    yield
    if "distributed" not in sys.modules:
        return
    from dask import config
    from distributed import default_client

    if config.get("scheduler", None) == "dask.distributed":
        try:
            default_client()
        except ValueError:
            config.set(scheduler=None)
            pytest.fail(
                "a client left Dask's setting `scheduler` behind: close clients last opened first"
            )


# What a notebook that worked must not show in red; the library's own sentences may stand there.
_ALARMING = re.compile(r"distributed|Traceback|Warning:|\d%\||\[\d+:\d\d")


def _said_in_red(path):
    """What of others the executed notebook at `path` shows in red, though it ended without an error."""
    cells = json.loads(path.read_text())["cells"]
    outputs = [each for cell in cells for each in cell.get("outputs", [])]
    if any(each["output_type"] == "error" for each in outputs):
        return []
    texts = ["".join(each["text"]) for each in outputs if each.get("name") == "stderr"]
    return list(filter(_ALARMING.search, texts))


@pytest.fixture(autouse=True)
def _quiet_notebooks(request, monkeypatch):
    """Fail the test of a twin's notebook that worked and shows warnings, bars, others' tracebacks."""
    folder, name = request.path.parts[-2:]
    if "notebook" not in name or folder in ("runs", "house"):
        yield
        return
    from physics_twins.runs import execution

    write, found = execution.write_report, []

    def watched(exporter, notebook, page):
        write(exporter, notebook, page)
        found.extend(_said_in_red(notebook))

    monkeypatch.setattr(execution, "write_report", watched)
    yield
    assert found == []


@pytest.fixture
def no_shipped_models(monkeypatch):
    """Hide the models that ship with the project: a test sees what it saved alone."""
    monkeypatch.setattr("physics_twins.data.homes", list)


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
