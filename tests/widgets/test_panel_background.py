"""Work beside a panel: the newest request counts, results are handed over in the asker's thread."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from twin_panels.background import Background


def test_results_come_part_by_part_and_in_order():
    heard: list[int] = []
    background = Background(heard.append, settle_s=0.0)
    background.ask(lambda: iter([1, 2, 3]))
    background.wait()
    assert heard == [1, 2, 3]


def test_only_the_newest_request_is_worked_on():
    heard, begun = [], []

    def work(name: str):
        begun.append(name)
        yield name

    background = Background(heard.append, settle_s=0.05)
    for name in ("a", "b", "c"):
        background.ask(lambda name=name: work(name))
    background.wait()
    assert (begun, heard) == (["c"], ["c"])


def test_work_ends_when_something_newer_is_asked_for():
    heard, parts, started, go_on = [], [], threading.Event(), threading.Event()

    def long_work():
        for part in range(100):
            parts.append(part)
            started.set()
            go_on.wait(5)
            yield part

    background = Background(heard.append, settle_s=0.0)
    background.ask(long_work)
    assert started.wait(5)
    background.ask(lambda: iter(["new"]))
    go_on.set()
    background.wait()
    assert parts == [0]
    assert heard == ["new"]


def test_a_failure_is_handed_over_and_work_goes_on_with_the_next_request():
    def fails():
        yield 1
        raise ValueError("no more")

    heard: list = []
    background = Background(heard.append, settle_s=0.0)
    background.ask(fails)
    background.wait()
    background.ask(lambda: iter([2]))
    background.wait()
    assert [str(each) for each in heard] == ["1", "no more", "2"]


def test_in_an_event_loop_results_come_by_themselves_in_its_thread():
    threads: list[int] = []

    async def ask() -> None:
        background = Background(lambda _: threads.append(threading.get_ident()), settle_s=0.0)
        background.ask(lambda: iter([1]))
        end = time.monotonic() + 5
        while not threads and time.monotonic() < end:
            await asyncio.sleep(0.01)

    asyncio.run(ask())
    assert threads == [threading.get_ident()]


def _note(path, name: str) -> str:
    """Write a module that notes which thread imported it; return its name."""
    code = "import threading\nBY = threading.current_thread().name\n"
    (path / f"{name}.py").write_text(code)
    return name


def test_what_work_needs_is_imported_by_the_kernels_own_thread_after_what_it_does_now(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    needs, heard, before = _note(tmp_path, "needed_by_a_loop"), [], []

    async def kernel() -> None:
        background = Background(heard.append, settle_s=0.0)
        background.ask(lambda: iter([sys.modules[needs].BY]), needs=needs)
        before.append(needs in sys.modules)
        await asyncio.sleep(0)
        background.wait()

    asyncio.run(kernel())
    assert (before, heard) == ([False], [threading.main_thread().name])


@pytest.mark.parametrize("needs", ["needed_without_a_loop", "not_there_at_all"])
def test_without_a_loop_it_is_imported_at_once_and_what_is_missing_is_told(
    needs, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    _note(tmp_path, "needed_without_a_loop")
    heard: list = []
    background = Background(heard.append, settle_s=0.0)
    background.ask(lambda: iter([sys.modules[needs].BY]), needs=needs)
    background.wait()
    [told] = heard
    if needs == "not_there_at_all":
        assert isinstance(told, ModuleNotFoundError)
    else:
        assert told == threading.main_thread().name


def test_python_ends_after_the_work_that_a_thread_has_begun():
    # A daemon thread that dies inside compiled code as Python ends aborts the process (rc -6).
    code = (
        "import time; from twin_panels.background import Background\n"
        "def work():\n    time.sleep(0.5); print('whole', flush=True); yield 1\n"
        "background = Background(print, settle_s=0.0)\n"
        "background.ask(work); time.sleep(0.2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "whole\n"
