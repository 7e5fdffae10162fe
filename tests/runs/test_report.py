"""The page of an executed notebook, and what becomes of its progress bars."""

import io

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tqdm import tqdm

from physics_twins.runs import execution


def settled(tmp_path, *texts: str) -> list[str]:
    """Write streams into a notebook, let its page be made, return the streams that are left."""
    outputs = [new_output("stream", name="stderr", text=text) for text in texts]
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    execution.write_report(execution.load_exporter(), path, tmp_path / "a.html")
    return [output.text for output in nbformat.read(path, as_version=4).cells[0].outputs]


def bars(**options) -> str:
    """What tqdm writes in five steps."""
    written = io.StringIO()
    with tqdm(range(5), file=written, mininterval=0, **options) as bar:
        for _ in bar:
            pass
    return written.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"desc": "train", "unit": "step", "postfix": {"loss": 0.3}},
        {"total": 0, "unit": "shower"},
        {"total": 500_000, "unit_scale": True, "unit": "frame"},
        {"ncols": 60},
    ],
)
def test_a_progress_bar_leaves_nothing_and_what_was_said_beside_it_stays(tmp_path, options):
    assert settled(tmp_path, bars(**options)) == []
    assert settled(tmp_path, "left out: 3\n", bars(**options), "at [10:20]\n") == [
        "left out: 3\nat [10:20]\n"
    ]


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


def test_a_panel_leaves_its_picture(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "VBox()"}
    live = new_output("display_data", widget)
    html = '<p class="twin-still">its picture</p>'
    outputs = [new_output("display_data", {"text/html": html}), live]
    path, page = tmp_path / "a.ipynb", tmp_path / "a.html"
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    execution.write_report(execution.load_exporter(), path, page)
    text = page.read_text()
    assert "its picture" in text
    assert "a live panel stands here" not in text
    assert "widget-view" not in path.read_text()  # it would say that its model is not found


def test_the_executed_notebook_is_trusted_until_it_is_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    execution.write_report(execution.load_exporter(), path, tmp_path / "a.html")
    made = nbformat.read(path, as_version=4)
    assert NotebookNotary().check_signature(made)
    made.cells[0].source = "2"
    assert not NotebookNotary().check_signature(made)


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


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("of $a^2$ and `cost $1, $2`", "<msup>"),
        ("$$\\frac{1}{2}$$", 'display="block"'),
        ("costs $x^$", "<code>x^</code>"),
        ("$a <script> b$", "<mo>&lt;</mo>"),
    ],
)
def test_a_formula_is_drawn_without_a_script_and_what_is_none_is_shown_as_written(
    tmp_path, source, shown
):
    path, page = tmp_path / "a.ipynb", tmp_path / "a.html"
    nbformat.write(new_notebook(cells=[new_markdown_cell(source)]), path)
    execution.write_report(execution.load_exporter(), path, page)
    text = page.read_text()
    assert shown in text
    assert "MathJax" not in text
