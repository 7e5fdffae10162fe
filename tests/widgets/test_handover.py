"""From a panel to files and commands and back: nothing wrong is loaded, commands do what they say."""

import json
import shlex
from datetime import UTC, datetime
from html import unescape

import pytest
from typer.testing import CliRunner

from physics_twins.cli.__main__ import app
from physics_twins.parameters import ParameterError
from physics_twins.pulsar.parameters import ObservationParameters
from twin_panels import batch
from twin_panels.controls import Controls
from twin_panels.handover import Handover


@pytest.fixture
def handover() -> Handover[ObservationParameters]:
    return Handover(Controls(ObservationParameters()), "pulsar/1_simulate", "parameters")


def chosen(handover: Handover, name: str, low: float, high: float, n_values: int) -> None:
    sweep = handover.sweep
    sweep.name.value = name
    sweep.low.value, sweep.high.value, sweep.n_values.value = low, high, n_values


def test_a_written_file_is_loaded_again(handover, tmp_path):
    wanted = ObservationParameters(dm_pc_cm3=475.5, n_bits=2, duration_s=1.0)
    path = batch.write(wanted, tmp_path / "mine.json")
    handover.path.value = str(path)
    handover.buttons["Load"].click()
    assert handover._controls.parameters == wanted
    assert "Loaded from" in handover.shown.value


def test_the_line_of_the_state_restores_it_and_follows_the_controls(handover):
    assert handover.state.value == "defaults"
    wanted = ObservationParameters(dm_pc_cm3=475.5, n_bits=2)
    handover._controls.set(wanted)
    line = handover.state.value
    assert line == "dm_pc_cm3=475.5 n_bits=2"
    handover._controls.reset()
    handover.state.value = f"  {line} "
    assert handover._controls.parameters == wanted
    assert handover.state.value == line
    handover.state.value = "defaults"
    assert handover._controls.parameters == ObservationParameters()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dm_pc_cm3=-1", "dm_pc_cm3 = -1.0 pc cm-3 is outside its range"),
        ("dm_pc_cm=1", "unknown parameter 'dm_pc_cm'; did you mean 'dm_pc_cm3'"),
        ("n_bits=eight", "n_bits = 'eight' is not a whole number"),
        ("n_bits=2 n_bits=8", "n_bits is given twice"),
        ("bright", "'bright' is no parameter"),
        ("", "the line is empty"),
        ("n_bits='2", "the line cannot be read: No closing quotation"),
    ],
)
def test_a_wrong_line_is_refused_by_name_and_changes_nothing(handover, line, told):
    handover._controls["dm_pc_cm3"].value = 60.0
    handover.state.value = line
    assert told in unescape(handover.shown.value)
    assert handover._controls.parameters == ObservationParameters(dm_pc_cm3=60.0)


def test_a_command_that_is_shown_runs_here_and_code_only_is_copied(handover):
    handover.buttons["Sweep this"].click()
    assert "twin-copy" in handover.shown.value
    assert handover.here.line == handover.sweep_line()
    assert handover.here.widget.layout.display == ""
    handover.buttons["As code"].click()
    assert "twin-copy" in handover.shown.value
    assert handover.here.widget.layout.display == "none"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"dm_pc_cm3": -1}', "dm_pc_cm3 = -1 pc cm-3 is outside its range"),
        (b'{"dm_pc_cm": 1.0}', "unknown parameter &#x27;dm_pc_cm&#x27;; did you mean &#x27;dm_pc_cm3"),
        (b'{"n_bits": "8"}', "n_bits = &#x27;8&#x27; is not allowed"),
        (b"[1, 2]", "parameters must be a JSON object"),
        (b"{", "parameters are not valid JSON"),
        (b"\xff\xfe", "byte 0 is no text in UTF-8"),
        (b"[" * 100_000, "parameters are nested"),
        (b" " * (batch.MOST_BYTES + 1), "it is no parameter file"),
    ],
)
@pytest.mark.parametrize("way", ["typed", "uploaded"])
def test_a_wrong_file_is_refused_in_a_sentence_that_names_it(handover, tmp_path, content, told, way):
    before = handover._controls.parameters
    if way == "typed":
        path = tmp_path / "mine.json"
        path.write_bytes(content)
        handover.path.value = str(path)
        handover.buttons["Load"].click()
    else:
        upload(handover, "mine.json", content)
    assert handover._controls.parameters == before
    assert "mine.json" in handover.shown.value
    assert told in handover.shown.value


def test_a_file_that_is_not_there_is_told_with_what_to_do(handover, tmp_path):
    handover.path.value = str(tmp_path / "none.json")
    handover.buttons["Load"].click()
    assert "none.json does not exist: give the path of a file" in handover.shown.value
    handover.path.value = ""
    handover.buttons["Load"].click()
    assert "No file is named: type its path" in handover.shown.value


def test_an_uploaded_file_is_loaded_and_can_be_loaded_again(handover):
    for _ in range(2):
        handover._controls["dm_pc_cm3"].value = 1.0
        upload(handover, "mine.json", json.dumps({"dm_pc_cm3": 99.0}).encode())
        assert handover._controls.parameters == ObservationParameters(dm_pc_cm3=99.0)


def upload(handover: Handover, name: str, content: bytes) -> None:
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    handover.upload.value = (file | {"last_modified": datetime.now(UTC)},)


@pytest.mark.parametrize(
    ("name", "ends", "cells"),
    [("dm_pc_cm3", (20.0, 100.0, 5), 5), ("width_ms", (0.1, 10.0, 3), 3), ("n_bits", (0, 1, 2), None)],
)
def test_the_sweep_shown_is_one_that_the_command_takes(handover, name, ends, cells):
    handover._controls["scattering_ms"].value = 2.5
    chosen(handover, name, *ends)
    command = shlex.split(handover.sweep_line())
    assert command[1:3] == ["sweep", "pulsar/1_simulate"]
    result = CliRunner().invoke(app, [*command[1:], "--plan"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == ["scattering_ms", name]
    if cells:
        assert lines[-1] == f"{cells} cells of pulsar/1_simulate"
        assert float(lines[1].split()[1]) == ends[0]
        assert float(lines[cells].split()[1]) == ends[1]


@pytest.mark.parametrize("name", sorted(Controls(ObservationParameters()).about))
def test_what_a_sweep_is_offered_at_first_is_allowed(handover, name):
    if name in handover.sweep._about:
        handover.sweep.name.value = name
        assert f"{name}=" in handover.sweep_line()


@pytest.mark.parametrize(
    ("name", "ends", "told"),
    [
        ("dm_pc_cm3", (-5.0, 100.0, 5), "dm_pc_cm3 = -5.0 pc cm-3 is outside its range"),
        ("dm_pc_cm3", (100.0, 20.0, 5), "the second must be the higher"),
        ("dm_pc_cm3", (20.0, 100.0, 1), "1 values of dm_pc_cm3: give 2 to"),
        ("fluence_jy_ms", (0.0, 1.0, 5), "begin above 0"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_a_sentence(handover, name, ends, told):
    chosen(handover, name, *ends)
    with pytest.raises(ParameterError, match=told):
        handover.sweep_line()
    handover.buttons["Sweep this"].click()
    assert told in handover.shown.value
