"""The book draws its figures and formulas without network."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import build
import nbformat
import offline
import pytest
import reference
import yaml
from nbclient import NotebookClient
from pygments.lexers import PythonLexer
from pygments.token import Error

BOOK = Path(build.__file__).parent
NOTEBOOKS = BOOK.parent / "notebooks"


def listed_files(node) -> list[str]:
    """Every `file` of a table of contents, in order, without suffix."""
    if isinstance(node, list):
        return [name for each in node for name in listed_files(each)]
    own = [Path(node["file"]).with_suffix("").as_posix()] if "file" in node else []
    return own + [
        name for value in node.values() if isinstance(value, list) for name in listed_files(value)
    ]


def toc() -> list[str]:
    tree = yaml.safe_load((BOOK / "_toc.yml").read_text())
    return [tree["root"], *listed_files(tree)]


def test_every_notebook_is_in_the_table_of_contents():
    found = [p.relative_to(BOOK.parent).with_suffix("").as_posix() for p in NOTEBOOKS.rglob("*.ipynb")]
    assert [name for name in found if name not in toc() and ".ipynb_checkpoints" not in name] == []


def test_both_tables_of_contents_are_equal():
    tree = yaml.safe_load((BOOK / "myst.yml").read_text())
    assert listed_files(tree["project"]["toc"]) == toc()


def test_every_page_of_the_table_of_contents_is_there_or_generated():
    written = [name for name in toc() if not name.startswith(("notebooks/", "reference/"))]
    assert [name for name in written if not (BOOK / f"{name}.md").is_file()] == []


def test_no_link_of_a_written_page_leads_nowhere():
    for page in BOOK.glob("*.md"):
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#:]+)\)", prose)
        assert [
            link for link in links if not (BOOK / link).exists() and not (BOOK.parent / link).exists()
        ] == []


def test_reference_pages_hold_commands_parameters_and_functions():
    assert "## twins run" in reference.commands()
    assert "| `seed` | `1` | 0 to 4" in reference.parameters()
    assert "### check" in reference.library()


def outputs_after_lightening(*outputs, tags=()) -> list[dict]:
    cell = {"cell_type": "code", "metadata": {"tags": list(tags)}, "outputs": list(outputs)}
    notebook = {"metadata": {"widgets": {"state": 1}}, "cells": [cell]}
    offline.lighten(notebook, to_figures="../_static/figures/")
    assert "widgets" not in notebook["metadata"]
    return cell["outputs"]


@pytest.mark.parametrize(
    "data",
    [
        {"application/javascript": "Bokeh ...", "application/vnd.holoviews_load.v0+json": "Bokeh ..."},
        {"application/javascript": "Bokeh ...", "application/vnd.bokehjs_load.v0+json": "Bokeh ..."},
        {"text/html": ["<script>panel.models.browser.BrowserInfo</script>"]},
        {"text/html": '<div class="logo-block">'},
        {},
    ],
)
def test_what_loads_scripts_into_a_notebook_leaves_the_page(data):
    assert outputs_after_lightening({"output_type": "display_data", "data": data}) == []


def test_a_figure_keeps_its_drawing_and_takes_its_styles_from_the_book():
    address = '"https://cdn.holoviz.org/panel/1.9.4/dist/css/loading.css?v=1.9.4"'
    figure = {"text/html": ["<div>", address], "application/vnd.holoviews_exec.v0+json": ""}
    (kept,) = outputs_after_lightening({"output_type": "execute_result", "data": figure})
    assert kept["data"] == {"text/html": '<div>"../_static/figures/panel/css/loading.css?v=1.9.4"'}


def test_a_panel_is_replaced_by_a_sentence():
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox(...)"}
    (kept,) = outputs_after_lightening({"output_type": "display_data", "data": widget})
    assert "open this notebook in JupyterLab" in kept["data"]["text/html"]


def test_printed_text_stays():
    printed = {"output_type": "stream", "name": "stdout", "text": "12 pulses"}
    assert outputs_after_lightening(printed) == [printed]


def test_the_cell_with_this_machines_paths_is_left_out():
    cell = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "outputs": []}
    offline.lighten({"metadata": {}, "cells": [cell]}, to_figures="")
    assert "remove-cell" in cell["metadata"]["tags"]


@pytest.mark.parametrize(
    "remote",
    [
        '<script src="https://a.example/x.js"></script>',
        '<script src="//a.example/x"></script>',
        '<link rel="stylesheet" href="http://a.example/x.css">',
        '<img src="https://a.example/x.png">',
        '<script>import("https://a.example/x.mjs")</script>',
        "<style>@import url(https://a.example/x.css)</style>",
    ],
)
def test_what_comes_from_elsewhere_is_found(tmp_path, remote):
    page = tmp_path / "page.html"
    page.write_text(f"<html><head></head><body>{remote}</body></html>")
    assert len(offline.remote_loads(page)) == 1
    assert f"{page} loads from elsewhere" in "".join(build.problems_of(tmp_path))


def test_links_that_a_reader_follows_are_no_loads(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="canonical" href="https://a.example/"><script src="x.js">var n = "https://a.example/";'
        '</script><a href="https://a.example/x.js">x</a><p>https://a.example/x.css</p>'
    )
    assert offline.remote_loads(page) == []


def test_a_page_that_is_too_large_is_named(tmp_path):
    (tmp_path / "index.html").write_text("x" * (build.LARGEST_PAGE_BYTES + 1))
    assert "more than 4" in build.problems_of(tmp_path)[0]


def test_a_book_without_pages_is_not_complete(tmp_path):
    assert "was not built" in build.problems_of(tmp_path)[0]


FIGURES = [
    "import numpy as np\nimport holoviews as hv\nhv.extension('bokeh', inline=True)",
    "hv.Curve(np.sin(np.linspace(0, 9)), 'time (s)', 'power')",
    "hv.Image(np.eye(8)).opts(cmap='viridis', colorbar=True)",
]


@pytest.fixture(scope="module")
def tiny_book(tmp_path_factory) -> Path:
    """The HTML of a book of one notebook with a formula and two figures, executed here."""
    book = tmp_path_factory.mktemp("book")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# A figure\n\nWith $a^2 + b^2$.")]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in FIGURES]
    NotebookClient(notebook, timeout=120).execute()
    light = json.loads(nbformat.writes(notebook))
    offline.lighten(light, to_figures="../_static/figures/")
    (book / "notebooks").mkdir()
    (book / "notebooks" / "figure.ipynb").write_text(json.dumps(light))
    (book / "index.md").write_text("# A book\n")
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: notebooks/figure\n"
    )
    shutil.copy(BOOK / "_config.yml", book)
    assert build.build(book) == 0
    return book / "_build" / "html"


@pytest.mark.slow
def test_a_built_book_loads_nothing_from_elsewhere(tiny_book):
    assert build.problems_of(tiny_book) == []


@pytest.mark.slow
def test_every_script_and_style_of_a_page_lies_in_the_book(tiny_book):
    page = tiny_book / "notebooks" / "figure.html"
    addresses = re.findall(r'<(?:script|link)[^>]*\s(?:src|href)="([^"#?]+)', page.read_text())
    assert any(address.endswith("bokeh.min.js") for address in addresses)
    assert any("mathjax" in address for address in addresses)
    assert [address for address in addresses if not (page.parent / address).exists()] == []


@pytest.mark.slow
def test_figures_are_drawn_in_a_browser_without_network(tiny_book, tmp_path):
    browser = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if browser is None:
        pytest.skip("no chromium on this machine")
    page = (tiny_book / "notebooks" / "figure.html").as_uri()
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    no_network = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"]
    done = subprocess.run(
        [browser, *options, *no_network, "--virtual-time-budget=15000", "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    # Panel's script renames a figure's place when it has drawn it; MathJax leaves its own elements.
    assert len(re.findall(r'id="[^"]*-rendered"', done.stdout)) == 2
    assert "<mjx-container" in done.stdout


def test_the_example_of_a_training_trains_and_keeps_a_model_that_opens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    page = (BOOK / "training.md").read_text().replace("max_steps=2000", "max_steps=20")
    training, _, keeping = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(training, names)
    exec(keeping.replace(", example=torch.randn(4, 8)", ""), names)
    assert names["models"].find("sum-of-eight").metrics["error"].value == 0.021
    assert names["trained"].n_steps == 20


def test_every_signature_of_the_reference_is_python_to_a_highlighter():
    signatures = re.findall(r"```python\n(.*?)```", reference.library(), re.DOTALL)
    wrong = [
        text for text in signatures if Error in {kind for kind, _ in PythonLexer().get_tokens(text)}
    ]
    assert len(signatures) > 100
    assert wrong == []
