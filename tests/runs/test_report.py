"""The page of an executed notebook, and what becomes of its progress bars."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from physics_twins.runs import execution


def settled(tmp_path, *texts: str) -> list[str]:
    """Write streams into a notebook, let its page be made, return the streams that are left."""
    outputs = [new_output("stream", name="stderr", text=text) for text in texts]
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    execution.write_report(execution.load_exporter(), path, tmp_path / "a.html")
    return [output.text for output in nbformat.read(path, as_version=4).cells[0].outputs]


def test_a_progress_bar_leaves_its_last_state(tmp_path):
    assert settled(tmp_path, "\rsearch: 0%", "\rsearch: 50%", "\rsearch: 100%\n") == ["search: 100%\n"]


def test_a_progress_bar_that_wiped_itself_leaves_nothing(tmp_path):
    assert settled(tmp_path, "\rsearch: 0%", "\rsearch: 100%", "\r            \r") == []


@pytest.mark.parametrize(
    ("text", "n_left"), [("  0%|          | 0/40 [00:00<?, ?shower/s]", 0), ("HBox()", 1)]
)
def test_a_widget_stays_unless_it_was_a_progress_bar(tmp_path, text, n_left):
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": text}
    path, page = tmp_path / "a.ipynb", tmp_path / "a.html"
    nbformat.write(
        new_notebook(cells=[new_code_cell("1", outputs=[new_output("display_data", data)])]), path
    )
    execution.write_report(execution.load_exporter(), path, page)
    assert len(nbformat.read(path, as_version=4).cells[0].outputs) == n_left
    assert page.read_text().count("a live panel stands here") == n_left


def test_an_output_without_anything_is_left_out_and_does_not_warn(tmp_path):
    path = tmp_path / "a.ipynb"
    outputs = [new_output("display_data", {}), new_output("error", ename="E", evalue="no")]
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    execution.write_report(execution.load_exporter(), path, tmp_path / "a.html")
    (left,) = nbformat.read(path, as_version=4).cells[0].outputs
    assert left.output_type == "error"


def test_a_message_between_two_progress_bars_stays(tmp_path):
    texts = ("\ra: 0%", "\r      \r", "500 detections left out\n", "\rb: 9%", "\r     \r")
    (text,) = settled(tmp_path, *texts)
    assert text.strip() == "500 detections left out"
