"""Files, folders and reports of runs as links, where JupyterLab is around and where it is not."""

import html
import json
import re
from pathlib import Path

import pytest

from physics_twins.data import write_json
from physics_twins.runs import Run, links

ADDRESS = "http://127.0.0.1:8888/base/"


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run's folder with a space in its name, seen from a notebook's folder, without a lab."""
    for name in ("JUPYTER_SERVER_URL", "JUPYTER_SERVER_ROOT", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    folder, here = tmp_path / "runs" / "a run", tmp_path / "my" / "notebooks"
    for each in (folder, here):
        each.mkdir(parents=True)
    for name in ("report.html", "metrics.json", "field.nc", ".told.json"):
        (folder / name).touch()
    monkeypatch.chdir(here)
    return Run(folder)


def in_a_terminal_of_a_lab(root: Path, monkeypatch):
    monkeypatch.setenv("JUPYTER_SERVER_URL", ADDRESS)
    monkeypatch.setenv("JUPYTER_SERVER_ROOT", str(root))


def in_a_kernel_of_a_lab(root: Path, monkeypatch):
    (runtime := root / "runtime").mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("JPY_PARENT_PID", "12")
    write_json(runtime / "jpserver-12.json", {"url": ADDRESS, "root_dir": str(root)})


def test_files_are_links_from_the_notebooks_folder_and_what_nothing_opens_is_named(run):
    shown = run._repr_html_()
    assert re.findall(r'href="([^"]*)"', shown) == [
        "../../runs/a%20run/metrics.json",
        "../../runs/a%20run/report.html",
    ]
    assert "field.nc" in shown
    assert ".told.json" not in shown


def test_a_page_opens_beside_the_lab_and_nothing_else_does(run):
    assert 'target="_blank"' in run.link("report.html")
    assert "target" not in run.link("metrics.json")


@pytest.mark.parametrize("around", [in_a_terminal_of_a_lab, in_a_kernel_of_a_lab])
def test_in_a_lab_a_folder_opens_in_the_file_browser_and_a_report_has_an_address(
    run, tmp_path, monkeypatch, around
):
    around(tmp_path, monkeypatch)
    asked = re.search(r'open-path" data-commandlinker-args="([^"]*)"', run.link())
    assert asked
    assert json.loads(html.unescape(asked[1])) == {"path": "runs/a run"}
    assert run.address == f"{ADDRESS}files/runs/a%20run/report.html"


def test_without_a_lab_a_folder_is_named_and_a_report_is_a_path(run):
    assert run.link() == f"<code>{run}</code>"
    assert run.address == str(run.report)


def test_what_the_lab_around_does_not_show_is_named_only(run, tmp_path, monkeypatch):
    in_a_terminal_of_a_lab(tmp_path / "my", monkeypatch)
    assert run.link("metrics.json") == "metrics.json"
    assert run.link() == f"<code>{run}</code>"
    assert run.address == str(run.report)


@pytest.mark.parametrize("content", ["", "[]", '{"url": "http://a/"}'])
def test_a_server_whose_record_cannot_be_read_is_none(run, tmp_path, monkeypatch, content):
    in_a_kernel_of_a_lab(tmp_path, monkeypatch)
    (tmp_path / "runtime" / "jpserver-12.json").write_text(content)
    assert links._lab() == ("", "")


def test_names_of_files_cannot_break_the_page(run):
    assert "<b>" not in run.link("metrics.json", "<b>")
    (run.folder / '"><b>.json').touch()
    assert "<b>" not in run._repr_html_()
