"""The start page leads to every notebook and says whether the installation works."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def linked() -> set[str]:
    start = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4)
    prose = "\n".join(cell.source for cell in start.cells if cell.cell_type == "markdown")
    return set(re.findall(r"\]\(([^)#]+\.ipynb)\)", prose))


def test_every_notebook_of_a_twin_is_linked_and_no_link_leads_nowhere():
    assert linked() == {p.relative_to(NOTEBOOKS).as_posix() for p in NOTEBOOKS.glob("*/[0-9]*.ipynb")}


@pytest.mark.slow
def test_its_check_finds_that_this_installation_works():
    start = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4)
    NotebookClient(start, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    code = [cell for cell in start.cells if cell.cell_type == "code"]
    assert "compiles" in code[-2].outputs[0]["data"]["text/html"]
    assert code[-1].outputs[0]["text"] == "Everything works.\n"
