"""Kernels forked from a warm process are kernels of their own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import ensure_event_loop
from small_notebooks import OPEN, write_notebook, write_project

from physics_twins import notebooks, warm_kernels

HERE = Path(__file__).resolve().parent

# The first of a pair changes everything it can; the second, at the same time, looks at what it sees.
MEET = """import pathlib, time
def meet(mine, other):
    pathlib.Path(label, mine).touch()
    while not pathlib.Path(label, other).exists():
        time.sleep(0.01)"""
CHANGE = """import atexit, os, random, sys, types, numpy
numbers = {"numpy": numpy.random.random(), "python": random.random(), "pid": os.getpid()}
left_over = 3
numpy.left_over = 3
sys.modules["left_over"] = types.ModuleType("left_over")
sys.path.append("/left_over")
os.environ["LEFT_OVER"] = "3"
os.chdir("/")
unclosed = open(pathlib.Path(label, "unclosed"), "w")
unclosed.write("flushed at the end")
atexit.register(pathlib.Path(label, "exited").touch)
meet("changed", "looked")
run.record(numbers)"""
LOOK = """import os, random, sys, numpy
meet("begun", "changed")
run.record({
    "variables": "left_over" in globals() or hasattr(numpy, "left_over"),
    "modules": "left_over" in sys.modules,
    "path": "/left_over" in sys.path,
    "environment": "LEFT_OVER" in os.environ,
    "folder": os.getcwd() != str(run.folder),
    "begin": label in sys.path,
})
run.record({"numpy": numpy.random.random(), "python": random.random(), "pid": os.getpid()})
meet("looked", "changed")"""


@pytest.fixture(scope="module", autouse=True)
def ended():
    """End what the tests' own process forks kernels from."""
    warm_kernels._close()
    yield
    warm_kernels._close()


def run_notebook(path, folder, **values):
    try:
        return notebooks.run(path, values, root=folder / "cells", warm=True)
    finally:
        ensure_event_loop().close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs at the same time, in the folder that both begin in."""
    folder = tmp_path_factory.mktemp("pair")
    paths = [
        write_notebook(folder / f"{name}.ipynb", OPEN, MEET, code)
        for name, code in (("change", CHANGE), ("look", LOOK))
    ]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.chdir(folder)
        both = threads.map(lambda path: run_notebook(path, folder, label=str(folder)), paths)
        return folder, *both


def test_two_kernels_run_at_a_time_forked_from_one_process(pair):
    _, first, second = pair
    for run in (first, second):
        assert run.status == "complete", run.provenance["error"]
    assert first.metrics["pid"] != second.metrics["pid"]
    assert len(warm_kernels._nurseries) == 1


@pytest.mark.parametrize("what", ["variables", "modules", "path", "environment", "folder"])
def test_a_kernel_sees_nothing_of_what_another_changed(what, pair):
    assert pair[2].metrics[what] is not None
    assert not pair[2].metrics[what]


def test_the_folder_that_the_program_began_in_holds_no_modules_for_a_kernel(pair):
    assert not pair[2].metrics["begin"]


@pytest.mark.parametrize("generator", ["numpy", "python"])
def test_two_kernels_draw_other_random_numbers(generator, pair):
    assert pair[1].metrics[generator] != pair[2].metrics[generator]


def test_a_kernel_ends_as_a_program_does(pair):
    folder = pair[0]
    assert (folder / "unclosed").read_text() == "flushed at the end"
    assert (folder / "exited").exists()


def test_no_kernel_is_left_when_its_notebook_has_ended(pair):
    for run in pair[1:]:
        assert not psutil.pid_exists(run.metrics["pid"])


def test_results_equal_those_of_a_cold_kernel(pair, tmp_path):
    path = write_project(tmp_path) / "notebooks" / "pendulum" / "1_simulate.ipynb"
    cold = notebooks.run(path, {"length_m": 3.0}, root=tmp_path / "cold")
    warm = run_notebook(path, tmp_path, length_m=3.0)
    assert (warm.status, warm.metrics, warm.parameters) == ("complete", cold.metrics, cold.parameters)
    assert {file.name for file in warm.folder.iterdir()} == {f.name for f in cold.folder.iterdir()}
    assert (warm.folder / "swings.csv").read_bytes() == (cold.folder / "swings.csv").read_bytes()


def test_a_kernel_that_dies_is_noticed_and_the_next_one_runs_even_without_its_parent(pair, tmp_path):
    dying = write_notebook(tmp_path / "die.ipynb", "print('half', end='')", "import os\nos._exit(3)")
    run = run_notebook(dying, tmp_path)
    assert (run.status, run.provenance["error"]) == ("failed", "DeadKernelError: Kernel died")
    assert "half" in (run.folder / "die.ipynb").read_text()
    warm_kernels._nurseries[0]._process.kill()
    alive = write_notebook(tmp_path / "live.ipynb", OPEN, 'run.record({"x": 1})')
    assert run_notebook(alive, tmp_path).metrics == {"x": 1}


def test_an_interrupt_reaches_a_kernel_as_ctrl_c(pair, tmp_path):
    async def interrupted():
        manager = warm_kernels.WarmKernelManager(transport="ipc", ip=str(tmp_path / "k"))
        await manager._async_start_kernel(extra_arguments=["--log-level=CRITICAL"])
        client = manager.client()
        client.start_channels()
        try:
            await client._async_wait_for_ready(timeout=60)
            client.execute("import time\nprint('waiting')\ntime.sleep(60)")
            while (await client._async_get_iopub_msg(timeout=60))["msg_type"] != "stream":
                pass
            begun = time.monotonic()
            await manager._async_interrupt_kernel()
            reply = await client._async_get_shell_msg(timeout=60)
            return reply["content"]["ename"], time.monotonic() - begun
        finally:
            client.stop_channels()
            await manager._async_shutdown_kernel(now=True)

    error, spent_s = asyncio.run(interrupted())
    assert error == "KeyboardInterrupt"
    assert spent_s < 10


@pytest.mark.parametrize(
    "command",
    [
        ["/usr/bin/julia", "--startup-file=no", "-e", "using IJulia"],
        [sys.executable, "-m", "bash_kernel", "-f", "x.json"],
        ["other/bin/python", "-m", "ipykernel_launcher", "-f", "x.json"],
    ],
)
def test_a_kernel_of_another_kind_or_environment_starts_as_usual(command, tmp_path, monkeypatch):
    (tmp_path / "other" / "bin").mkdir(parents=True)
    (tmp_path / "other" / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    usual = []

    async def launch(self, cmd, **_):
        usual.append(cmd)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalProvisioner, "launch_kernel", launch)
    monkeypatch.setattr(warm_kernels, "_fork", lambda *_: pytest.fail("it was forked"))
    asyncio.run(warm_kernels._WarmProvisioner().launch_kernel(command))
    assert usual == [command]


@pytest.mark.slow
def test_kernels_end_when_their_program_is_killed(tmp_path):
    wait = "import os, time\nrun.record({'pid': os.getpid(), 'parent': os.getppid()})\ntime.sleep(60)"
    path = write_notebook(tmp_path / "wait.ipynb", OPEN, wait)
    code = f"""
from pathlib import Path
from physics_twins import notebooks
notebooks.run({str(path)!r}, out={str(tmp_path / "mine")!r}, warm=True)
"""
    places = {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(HERE)])}
    program = subprocess.Popen([sys.executable, "-c", code], env=os.environ | places)
    metrics = tmp_path / "mine" / "metrics.json"
    wait_until(lambda: metrics.exists() or program.poll() is not None)
    pids = json.loads(metrics.read_text()).values()
    assert all(psutil.pid_exists(pid) for pid in pids)
    program.kill()
    program.wait()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def wait_until(ready):
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)
