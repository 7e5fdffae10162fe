"""A command that a panel shows, run from there: what it says is seen, and it can be stopped."""

import shlex
import sys
import time

import pytest

from twin_panels.run_here import CANCEL, RUN, RunHere


def command(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


@pytest.fixture
def here() -> RunHere:
    return RunHere()


def test_there_is_no_button_without_a_command(here):
    assert here.widget.layout.display == "none"
    here.offer("true")
    assert here.widget.layout.display == ""
    here.offer("")
    assert here.widget.layout.display == "none"


def test_what_it_says_is_shown_and_a_line_that_is_written_over_as_it_ends(here):
    here.offer(command(r"print('one <b>'); print('10 %\r90 %', end='')"))
    here.button.click()
    assert here.button.description == CANCEL
    here.wait()
    assert "one &lt;b&gt;\n90 %\nDone.</pre>" in here.told
    assert here.button.description == RUN


def test_a_failure_is_told(here):
    here.offer(command("raise SystemExit('no such file')"))
    here.button.click()
    here.wait()
    assert "no such file\nEnded with status 1." in here.told


def test_pressed_again_it_stops_and_another_command_waits_until_then(here):
    here.offer(command("import time; print('begun', flush=True); time.sleep(60)"))
    begun = time.monotonic()
    here.button.click()
    here.offer("another")
    assert here.line != "another"
    here.button.click()
    here.wait()
    assert time.monotonic() - begun < 30
    assert "Ended with status -15" in here.told
    here.offer("another")
    assert here.line == "another"


def test_a_program_that_is_not_there_is_told(here):
    here.offer("/no/such/program")
    here.button.click()
    assert "No such file or directory" in here.told
    assert here.button.description == RUN
