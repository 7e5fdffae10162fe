"""The user's copies of notebooks: what nobody changed follows the project, the rest is kept."""

import json

import pytest

from twin_panels import copies


def cell(source):
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def write(path, *sources):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [cell(each) for each in sources], "metadata": {}}))


def sources(path):
    return ["".join(each["source"]) for each in json.loads(path.read_text())["cells"]]


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def project(tmp_path):
    write(tmp_path / "notebooks" / "start.ipynb", "start = 1")
    write(tmp_path / "notebooks" / "pendulum" / "1_simulate.ipynb", "length_m = 1.0")
    (tmp_path / "notebooks" / "pictures").mkdir()
    (tmp_path / "notebooks" / "pictures" / "a.webp").write_bytes(b"picture")
    (tmp_path / "notebooks" / ".ipynb_checkpoints").mkdir()
    write(tmp_path / "notebooks" / ".ipynb_checkpoints" / "start.ipynb", "old = 1")
    copies.lay_out(tmp_path)
    return tmp_path


@pytest.fixture
def mine(project):
    return project / "my" / "notebooks"


@pytest.fixture
def swing(mine):
    return mine / "pendulum" / "1_simulate.ipynb"


def test_everything_but_hidden_files_is_copied(project, mine):
    found = {path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file()}
    assert found == {"start.ipynb", "pendulum/1_simulate.ipynb", "pictures/a.webp"}
    assert copies.changed(project, mine) == {}


def test_outputs_are_no_change_and_a_new_original_takes_their_place(project, mine, swing):
    edit(
        swing, lambda content: content["cells"][0].update(outputs=[{"text": "2.0"}], execution_count=3)
    )
    assert copies.changed(project, mine) == {}
    copies.lay_out(project)
    assert json.loads(swing.read_text())["cells"][0]["outputs"]  # nothing new: what was seen is kept
    write(project / "notebooks" / "pendulum" / "1_simulate.ipynb", "length_m = 2.0")
    copies.lay_out(project)
    assert sources(swing) == ["length_m = 2.0"]


def test_what_somebody_typed_is_kept_and_told_when_the_original_changes(project, mine, swing):
    edit(swing, lambda content: content["cells"][0].update(source="length_m = 9.0"))
    assert copies.changed(project, mine) == {"pendulum/1_simulate": False}
    write(project / "notebooks" / "pendulum" / "1_simulate.ipynb", "length_m = 2.0")
    copies.lay_out(project)
    assert sources(swing) == ["length_m = 9.0"]
    assert copies.changed(project, mine) == {"pendulum/1_simulate": True}


def test_a_copy_that_is_no_notebook_any_more_is_kept(project, mine, swing):
    swing.write_text("half a note")
    copies.lay_out(project)
    assert swing.read_text() == "half a note"
    assert copies.changed(project, mine) == {"pendulum/1_simulate": False}


def test_reset_brings_the_original_back_and_loses_nothing(project, mine, swing):
    for length in ("8.0", "9.0"):
        text = f"length_m = {length}"
        edit(swing, lambda content, text=text: content["cells"][0].update(source=text))
        kept = copies.reset(project, mine, "pendulum/1_simulate")
        assert sources(kept) == [text]
        assert sources(swing) == ["length_m = 1.0"]
    assert kept.name == "1_simulate_mine_2.ipynb"


def test_the_start_page_offers_the_changed_ones(project, mine, swing, monkeypatch):
    monkeypatch.chdir(mine)
    assert "None of your notebooks differs" in copies.Copies().widget.children[1].value
    edit(swing, lambda content: content["cells"][0].update(source="length_m = 9.0"))
    # As in a clone: the project around the copies is the library's own.
    monkeypatch.setattr(copies.data, "homes", lambda: [project / "my", project])
    shown = copies.Copies()
    assert shown.choice.value == "pendulum/1_simulate"
    shown.reset()
    assert "1_simulate_mine_1.ipynb" in shown.message
    assert sources(swing) == ["length_m = 1.0"]
    assert shown.choice.options == ()


def test_outside_the_copies_nothing_can_be_reset(project, monkeypatch):
    write(project / "notebooks" / "pendulum" / "1_simulate.ipynb", "length_m = 2.0")
    monkeypatch.chdir(project / "notebooks")
    shown = copies.Copies()
    shown.reset()
    assert "could not be reset" in shown.message or shown.choice.options == ()
    assert sources(project / "notebooks" / "pendulum" / "1_simulate.ipynb") == ["length_m = 2.0"]
