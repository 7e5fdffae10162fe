"""Whatever the project prints as a command line works when it is copied into a fresh shell.

Words in capitals, as in `FILE` or `runs/sweeps/NAME`, stand for what is the reader's own.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from sources import ROOT
from typer.testing import CliRunner

from physics_twins import runs
from physics_twins.cli.__main__ import app
from physics_twins.cli.texts import pairs
from physics_twins.lattice import LatticeParameters
from physics_twins.parameters import ParameterError, Parameters
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.sweeps import find_task
from physics_twins.virgo import VirgoParameters
from twin_panels import calorimeter, lattice, pulsar, virgo
from twin_panels.controls import Controls
from twin_panels.handover import Handover

ACTIVATE = "source .venv/bin/activate"
OURS = re.compile(r"[A-Z]{3,}")  # what a reader puts something else for
PANELS: dict[str, tuple[type, Parameters]] = {
    "calorimeter": (calorimeter.CalorimeterPanel, calorimeter.DEFAULT),
    "lattice": (lattice.LatticePanel, LatticeParameters(theory="u1", beta=7.0)),
    "pulsar": (pulsar.PulsarPanel, ObservationParameters()),
    "virgo": (virgo.VirgoPanel, VirgoParameters()),
}
# What only tells something, and so is run here as it stands.
TELLS = {
    ("notebooks",),
    ("runs",),
    ("sweeps",),
    ("studies",),
    ("data",),
    ("cluster",),
    ("models",),
    ("models", "verify"),
}


def pages() -> Iterator[tuple[str, str]]:
    """Every page that a reader sees, by name, as Markdown."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md")):
        if path.name != "CHANGELOG.md":
            yield path.relative_to(ROOT).as_posix(), path.read_text()
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            cells = json.loads(path.read_text())["cells"]
            texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
            yield path.relative_to(ROOT).as_posix(), "\n\n".join(texts)


def blocks(text: str) -> list[str]:
    """The lines of all blocks for a shell, in order."""
    found = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    return [line for line in found.replace("\\\n", " ").splitlines() if line.strip()]


def inline(text: str) -> list[str]:
    """Commands within sentences."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found = [" ".join(each.split()) for each in re.findall(r"`((?:twins|make) [^`]+)`", prose)]
    return [each for each in found if "..." not in each]


PAGES = dict(pages())
LINES = sorted({line for text in PAGES.values() for line in blocks(text)})
NAMED = sorted({line for text in PAGES.values() for line in inline(text)})


def test_there_are_lines_in_readme_book_and_start_page():
    found = {name for name, text in PAGES.items() if blocks(text)}
    assert {"README.md", "book/clusters.md", "notebooks/start.ipynb"} <= found
    assert len(LINES) > 30


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if blocks(text)])
def test_a_page_says_where_twins_is_before_it_is_called(name):
    if name.startswith("notebooks/"):  # read in the lab, whose terminals have it on their path
        return
    for line in blocks(PAGES[name]):
        if line.startswith(ACTIVATE):
            return
        assert not line.startswith("twins "), line


@pytest.mark.parametrize("line", LINES)
def test_a_printed_line_is_one_that_is_taken(line):
    assert refusal(line) == ""


@pytest.mark.parametrize("line", NAMED)
def test_a_command_that_a_sentence_names_is_there(line):
    words = line.split()
    known = words[0] == "twins" and not command_of(words[1:])[1]  # as in `twins label`, without more
    assert known or refusal(line) == ""


@pytest.mark.parametrize("line", ["twins run pulsar/4_infer -p dm_max=600", "make tests", "twins run"])
def test_a_line_that_does_not_work_is_told(line):
    assert refusal(line) != ""


@pytest.mark.parametrize("name", PANELS)
def test_what_a_panel_prints_is_taken_and_calls_the_program_by_its_path(name, tmp_path):
    panel, start = PANELS[name]
    names = calorimeter.SHOWN if name == "calorimeter" else None
    handover = Handover(Controls(start, names=names), panel.notebook, panel.use)
    lines = [handover.run_as_batch(tmp_path / "mine.json")]
    for parameter in handover.sweep.name.options:
        handover.sweep.name.value = parameter[1]
        try:
            lines.append(handover.sweep_line())
        except ParameterError:  # it is not printed, but refused in a sentence
            continue
    assert len(lines) > 3
    for line in lines:
        assert Path(shlex.split(line)[0]).is_file()
        assert refusal(line) == ""


def tells(line: str) -> bool:
    program, *words = shlex.split(line, comments=True)
    if Path(program).name != "twins" or OURS.search(line.partition("#")[0]):
        return False
    return tuple(words) in TELLS or words[:1] == ["notebooks"] or bool({"--show", "--plan"} & {*words})


@pytest.mark.slow
@pytest.mark.parametrize("line", [each for each in LINES if tells(each)])
def test_a_line_that_only_tells_something_runs_in_a_fresh_shell(line):
    programs = Path(sys.executable).parent
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "HOME") if name in os.environ}
    environment = {"PATH": f"{programs}:/usr/bin:/bin", **kept}
    line = line.replace(".venv/bin/", f"{programs}/")  # there is none in some clones that are tested
    shell = ["bash", "--noprofile", "--norc", "-c", line]
    done = subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def refusal(line: str) -> str:
    """Why a printed line would be refused; "" where it is not."""
    words = shlex.split(line, comments=True)
    program = Path(words[0]).name
    if program == "make":
        return made(words[1:])
    if program == "twins":
        try:
            return called(words[1:])
        except Exception as error:  # whatever it is, a reader would meet it
            return str(error) or type(error).__name__
    return "" if line.startswith(ACTIVATE) or words[:2] == ["python3", "bootstrap.py"] else "unknown"


def made(words: list[str]) -> str:
    targets = re.findall(r"^(\w+)(?=[\w ]*:)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets += re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    given = shlex.split("".join(word.partition("=")[2] for word in words[1:]))
    missing = [each for each in given if "/" in each and not (ROOT / each).exists()]
    return "" if words[0] in targets and not missing else f"make {words}"


def called(words: list[str]) -> str:
    """Parse a line of `twins`, and check what it would compute, without computing it."""
    command, words = command_of(words)
    values = command.make_context(command.name, list(words)).params
    if any(OURS.search(word) for word in words if not word.startswith("-")):
        return ""
    if command.name in ("run", "notebooks"):
        if values["name"]:
            notebook = runs.notebook(values["name"])
            given = pairs("-p", values.get("settings") or [])
            if file := values.get("parameters"):
                given = {**given, **json.loads(Path(file).read_text())}
            notebook.check(given)
    elif command.name == "sweep":
        done = CliRunner().invoke(app, ["sweep", *words, "--plan"])
        return "" if done.exit_code == 0 else done.output or str(done.exception)
    elif command.name == "tune":
        task = find_task(values["what"])
        names = {
            *pairs("--range", values["ranges"] or []),
            *pairs("--choices", values["choices"] or []),
        }
        return ", ".join(sorted(names - set(task.fields)))
    return ""


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words begin with, and what follows."""
    command: Any = typer.main.get_command(app)  # typer has a click of its own
    while words and not words[0].startswith("-") and words[0] in getattr(command, "commands", ()):
        command, words = command.commands[words[0]], words[1:]
    return command, words
