"""The book draws its figures and formulas without network."""

import json
import pkgutil
import re
import shutil
from pathlib import Path

import browsing
import build
import figures
import nbformat
import offline
import pages
import pytest
import reading
import reference
import small_models
import yaml
from lab_browser import serious_findings
from nbclient import NotebookClient
from pygments.lexers import PythonLexer
from pygments.token import Error

from physics_twins.models.folder import open_model

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
        found = re.findall(r"\]\(([^)#:]+)\)", prose)
        links = [link for link in found if link.removesuffix(".md") not in toc()]  # some are generated
        assert [
            link for link in links if not (BOOK / link).exists() and not (BOOK.parent / link).exists()
        ] == []


def test_no_link_of_a_written_page_leads_to_a_heading_that_is_not_there():
    for page in BOOK.glob("*.md"):
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", prose):
            headings = re.findall(r"^#+ (.*)", (BOOK / (target or page.name)).read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_reference_pages_hold_commands_parameters_and_functions():
    assert "## twins run" in reference.commands()
    assert "| `seed` | `1` | 0 to 4" in reference.parameters()
    assert "### check" in reference.library("parameters")
    assert "## physics_twins.pulsar.simulate" in reference.library("pulsar")
    assert "[runs](library_runs.md)" in reference.doors()


def test_the_reference_has_a_page_for_every_door_and_twin(tmp_path):
    packages = {p.parent.name for p in (BOOK.parent / "lib" / "physics_twins").glob("*/simulate.py")}
    assert set(reference.TWINS) == packages
    offered = {p.stem for p in (BOOK.parent / "lib" / "physics_twins").glob("[a-z]*")}
    assert {*reference.DOORS, *reference.TWINS} == offered - {"cli"}
    reference.write(tmp_path)
    listed = [name for name in toc() if name.startswith("reference/")]
    assert sorted(f"reference/{p.stem}" for p in tmp_path.glob("*.md")) == sorted(listed)


THEORIES = "pulsar_theory", "calorimeter_theory", "virgo"
THEORY = re.compile(r"`((?:[a-z_0-9]+\.)+[A-Za-z_0-9]+)`")


@pytest.mark.parametrize("page", THEORIES)
def test_every_function_that_the_theory_names_is_there(page):
    twin, names = page.split("_")[0], THEORY.findall((BOOK / f"{page}.md").read_text())
    prefixes = [
        name if name.startswith("physics_twins.") else f"physics_twins.{twin}.{name}" for name in names
    ]
    assert len(names) > 15
    assert [name for name in prefixes if resolved(name) is None] == []


def code(name: str) -> str:
    return f'<code class="docutils literal notranslate"><span class="pre">{name}</span></code>'


def test_functions_that_a_twins_page_names_are_links_into_the_reference(tmp_path):
    names = ["simulate.simulate", "physics_twins.runs.open_run", "dm_pc_cm3", "simulate.nothing"]
    for page in ("pulsar_theory", "limits"):
        (tmp_path / f"{page}.html").write_text("".join(map(code, names)))
    assert reference.link_names(tmp_path) == 2
    text = (tmp_path / "pulsar_theory.html").read_text()
    addresses = re.findall(r'<a href="reference/library_(\w+).html#([^"]+)">', text)
    assert addresses == [
        ("pulsar", "physics_twins.pulsar.simulate.simulate"),
        ("runs", "physics_twins.runs.folder.open_run"),
    ]
    for door, anchor in addresses:
        assert f'<div id="{anchor}"></div>' in reference.library(door)
    assert "<a " not in (tmp_path / "limits.html").read_text()


def resolved(name: str):
    """What a dotted name stands for; None where there is nothing."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def test_every_number_in_brackets_of_the_theory_is_a_reference():
    for page in THEORIES:
        text, _, listed = (BOOK / f"{page}.md").read_text().partition("## References")
        text = re.sub(r"\$.*?\$", "", text.replace("$$", "$"), flags=re.DOTALL)
        named = {
            int(n) for group in re.findall(r"\[(\d+(?:, \d+)*)\]", text) for n in group.split(", ")
        }
        assert named == set(range(1, len(re.findall(r"^\d+\. ", listed, re.MULTILINE)) + 1))


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


def test_a_panel_is_replaced_by_a_sentence_and_its_picture():
    still = "<div>its figure</div>"
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox(...)"}
    shown = {"output_type": "display_data", "data": widget | {"text/html": [still]}}
    (kept,) = outputs_after_lightening(shown)
    assert "open this notebook in JupyterLab" in kept["data"]["text/html"]
    assert still in kept["data"]["text/html"]


def test_links_to_files_of_a_run_leave_the_page_and_their_names_stay():
    html = '<div class="twin-run">Run <code>r</code><br><a href="a.csv">a.csv</a></div>'
    (kept,) = outputs_after_lightening({"output_type": "execute_result", "data": {"text/html": html}})
    assert kept["data"]["text/html"] == '<div class="twin-run">Run <code>r</code><br>a.csv</div>'
    other = {"text/html": '<p><a href="b.html">b</a></p>'}
    (kept,) = outputs_after_lightening({"output_type": "execute_result", "data": other})
    assert kept["data"] == other


def test_printed_text_stays():
    printed = {"output_type": "stream", "name": "stdout", "text": "12 pulses"}
    assert outputs_after_lightening(printed) == [printed]


def test_the_cell_with_this_machines_paths_is_left_out():
    cell = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "outputs": []}
    notebook = {"metadata": {}, "cells": [cell]}
    offline.lighten(notebook, to_figures="")
    assert notebook["cells"] == []


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


WHOLE = (
    '<html lang="en"><body><a href="#main">Skip</a><h1 id="main">A</h1><h2 id="b">B</h2>'
    '<a href="#b">here</a> <a href="other/page.html#c">there</a> <a href="https://a.example/x">far</a>'
    '<img src="x.png" alt="A shower from the side"></body></html>'
)


@pytest.fixture
def small_book(tmp_path) -> Path:
    """A folder of two pages with nothing wrong in them."""
    (tmp_path / "other").mkdir()
    (tmp_path / "index.html").write_text(WHOLE)
    there = (
        '<html lang="en"><a href="#c">Skip</a><h1 id="c">C</h1><a href="../index.html">back</a></html>'
    )
    (tmp_path / "other" / "page.html").write_text(there)
    (tmp_path / "x.png").touch()
    return tmp_path


def test_a_book_with_nothing_wrong_has_no_problems(small_book):
    assert build.problems_of(small_book) == []


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("page.html#c", "page.html#d", "index.html links to other/page.html#d"),
        ("other/page.html", "other/nowhere.html", "index.html links to other/nowhere.html#c"),
        ('"#b"', '"#bb"', "index.html links to #bb"),
        ('"x.png"', '"y.png"', "index.html links to y.png"),
        ("other/page.html#c", "../outside.html", "index.html links to ../outside.html"),
        ('alt="A shower from the side"', "", "index.html has no words for x.png"),
        ('alt="A shower from the side"', 'alt="x.png"', "index.html has no words for x.png"),
        ("<img", '<div data-root-id="p1"></div><img', "index.html has no words for the figure p1"),
        ("h2", "h3", "index.html has headings of levels [1, 3]"),
        (' lang="en"', "", "index.html does not say its language"),
        ("#main", "other/page.html", "index.html has no link past its navigation"),
    ],
)
def test_what_keeps_a_reader_out_is_found(small_book, right, wrong, found):
    assert right in WHOLE
    (small_book / "index.html").write_text(WHOLE.replace(right, wrong))
    (small_book.parent / "outside.html").touch()
    assert build.problems_of(small_book) == [found]


def test_a_figure_within_words_of_its_own_is_not_missing_them(small_book):
    figure = '<div role="figure" aria-label="Power against time"><div data-root-id="p1"></div></div>'
    (small_book / "index.html").write_text(WHOLE.replace("<img", f"{figure}<img"))
    assert reading.figures_without_words(small_book) == []


def plot(**attributes) -> dict:
    """A Bokeh document of one figure."""
    figure = {"type": "object", "name": "Figure", "id": "p1", "attributes": attributes}
    return {"roots": [figure]}


def model(name, id="", **attributes) -> dict:
    return {"type": "object", "name": name, "id": id or name, "attributes": attributes}


def test_a_figures_words_are_its_title_axes_colours_and_layers():
    labels = [{"type": "value", "value": each} for each in ("truth", "found")]
    layers = [model("LegendItem", id=each["value"], label=each) for each in labels]
    document = plot(
        title=model("Title", text="A pulse"),
        left=[model("LinearAxis", id="left", axis_label="S/N")],
        below=[model("LinearAxis", axis_label="Time (s)")],
        right=[model("ColorBar", title="DM")],
        center=[model("Legend", items=layers[:1]), {"id": "nothing"}, layers[1]],
    )
    words = "A pulse: S/N against Time (s), in colour DM, with truth, found"
    assert figures.words_of(document) == words


def test_a_figures_words_stand_in_its_html_and_cannot_break_it():
    document = {"d": plot(title=model("Title", text='"<b> & more'))}
    script = f"<div id='r'></div><script>var docs_json = {json.dumps(document)};\n var render_items = 1"
    assert """<div id='r' role="figure" aria-label="&quot;&lt;b&gt; &amp; more">""" in figures.in_words(
        script
    )


def test_a_page_says_when_and_with_what_it_was_run():
    record = {
        "started": "2026-11-28T14:19:35.186+00:00",
        "duration_s": 125.0,
        "identity": "0123456789abcdef",
        "code": {"version": "0.1.0"},
        "interpreter": {
            "python": "3.11.7",
            "packages": {"numpy": "2.4.6", "torch": "2.13.0", "papermill": "2.7.0", "dask": "1"},
        },
    }
    assert pages.line_cell(record)["source"] == (
        "*Executed on 28 November 2026 in 2 min 5 s with physics-twins 0.1.0, Python 3.11.7,"
        " numpy 2.4.6, torch 2.13.0, papermill 2.7.0; run*"
        " `0123456789ab`."
    )


@pytest.mark.parametrize(
    ("urls", "citation", "address"),
    [
        ("", "title: x", ""),
        ("", "repository-code: https://a.example/b/", "https://a.example/b"),
        ('[project.urls]\nRepository = "https://a.example/c"', "title: x", "https://a.example/c"),
    ],
)
def test_binder_takes_the_address_that_the_project_names(tmp_path, urls, citation, address):
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n{urls}\n')
    (tmp_path / "CITATION.cff").write_text(citation)
    assert build.repository_address(tmp_path) == address


def test_a_book_without_pages_is_not_complete(tmp_path):
    assert "was not built" in build.problems_of(tmp_path)[0]


FIGURES = [
    "import numpy as np\nimport holoviews as hv\nhv.extension('bokeh', inline=True)",
    "hv.Curve([1, 3, 2], 'time (s)', 'power', label='a') * hv.Curve([2, 2, 2], label='b')",
    "hv.Image(np.eye(8)).opts(cmap='viridis', colorbar=True)",
    "hv.HoloMap({n: hv.Curve([1, n]) for n in (2, 3)}, 'height')",
]
WIDE = "(hv.Curve([1, 2]).opts(width=690) + hv.Curve([2, 1]).opts(width=345)).opts(shared_axes=False)"
# What figures say now: their titles, and how many of their lines are muted.
SHOWN = """() => {
  const models = Bokeh.documents.flatMap((d) => [...d._all_models.values()]);
  const texts = models.filter((m) => m.type == "Title").map((m) => m.text);
  return {titles: texts.filter((t) => t), muted: models.filter((m) => m.muted).length};
}"""


FORMULA = r"$$\int_0^\infty " + " + ".join(f"a_{{{n}}} x^{{{n}}}" for n in range(7)) + r"\,dx$$"


def write_executed(path: Path, title: str, *sources: str):
    """Write a notebook of a title and code cells, executed here, as a page of the book."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell(title)]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    NotebookClient(notebook, timeout=120).execute()
    light = json.loads(nbformat.writes(notebook))
    offline.lighten(light, to_figures="../_static/figures/")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(light))


@pytest.fixture(scope="module")
def tiny_book(tmp_path_factory) -> Path:
    """The HTML of a book of two notebooks with formulas and figures, and a page of the reference."""
    book = tmp_path_factory.mktemp("book")
    write_executed(book / "notebooks" / "figure.ipynb", "# A figure\n\nWith $a^2 + b^2$.", *FIGURES)
    write_executed(book / "notebooks" / "wide.ipynb", f"# Wide\n\n{FORMULA}", FIGURES[0], WIDE)
    (book / "reference").mkdir()
    (book / "reference" / "library_twin.md").write_text(reference.library("twin"))
    (book / "index.md").write_text("# A book\n")
    pages = ("notebooks/figure", "notebooks/wide", "reference/library_twin")
    listed = "".join(f"  - file: {page}\n" for page in pages)
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{listed}")
    shutil.copy(BOOK / "_config.yml", book)
    assert build.build(book, repository="https://github.com/a/b") == 0
    offline.let_search_quote(book / "_build" / "html")
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
def test_a_page_offers_its_notebook_and_binder(tiny_book):
    page = (tiny_book / "notebooks" / "figure.html").read_text()
    assert 'href="../_sources/notebooks/figure.ipynb"' in page
    assert (tiny_book / "_sources" / "notebooks" / "figure.ipynb").is_file()
    assert "https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/notebooks/figure.ipynb" in page


@pytest.mark.slow
def test_every_page_is_whole_in_a_browser_without_network(tiny_book, browser):
    visits = browsing.visit(browser, reading.pages_of(tiny_book))
    assert [each for each in visits if not each.is_whole] == []
    assert sum(each.n_figures for each in visits) == 4


@pytest.mark.slow
def test_a_page_fits_a_narrow_screen_with_figures_and_formulas(tiny_book, browser):
    tab = browser.new_context(offline=True, viewport={"width": 400, "height": 800}).new_page()
    for name in ("index.html", "notebooks/wide.html", "reference/library_twin.html", "search.html"):
        tab.goto((tiny_book / name).as_uri())
        tab.wait_for_function(f"() => ({browsing.OVERFLOW})() == 0", timeout=20_000)
    tab.goto((tiny_book / "notebooks" / "wide.html").as_uri())
    tab.wait_for_function(f"() => ({browsing.WIDTHS})().figures.length == 2", timeout=20_000)
    tab.wait_for_function(f"() => ({browsing.WIDTHS})().figures.every((right) => right <= 400)")
    fits = "formulas.every(([needed, has]) => needed <= has + 1)"
    tab.wait_for_function(
        f"() => {{ const {{ formulas }} = ({browsing.WIDTHS})();"
        f" return formulas.length == 1 && {fits}; }}"
    )
    tab.context.close()


@pytest.mark.slow
def test_what_is_too_wide_is_noticed(tiny_book, browser):
    tab = browser.new_context(offline=True, viewport={"width": 400, "height": 800}).new_page()
    page = tiny_book / "notebooks" / "wide.html"
    worse = page.with_name("wider.html")
    worse.write_text(page.read_text().replace("narrow.js", "lost.js"))
    tab.goto(worse.as_uri())
    tab.wait_for_function(f"() => ({browsing.WIDTHS})().figures.some((right) => right > 700)")
    worse.unlink()
    tab.context.close()


@pytest.mark.slow
def test_a_search_from_disk_shows_the_words_around_what_it_found(tiny_book, browser):
    tab = browser.new_context(offline=True).new_page()
    tab.goto((tiny_book / "search.html").as_uri() + "?q=calibration")
    found = tab.locator("#search-results .context")
    found.first.wait_for(timeout=20_000)
    assert "alibration" in found.first.inner_text()
    tab.context.close()


@pytest.mark.slow
def test_axe_finds_nothing_serious_on_pages_of_the_book(tiny_book, browser):
    tab = browser.new_page()
    for name in ("index.html", "notebooks/wide.html", "reference/library_twin.html", "search.html"):
        tab.goto((tiny_book / name).as_uri())
        assert (name, serious_findings(tab)) == (name, [])
    tab.set_content("<html lang='en'><title>x</title><main><h1>x</h1><img src='x.png'></main>")
    assert serious_findings(tab) == ["image-alt (critical): 1"]
    tab.close()


@pytest.mark.slow
def test_what_is_not_loaded_or_drawn_is_noticed(tiny_book, browser, monkeypatch):
    monkeypatch.setattr(browsing, "DRAW_S", 8.0)
    page = tiny_book / "notebooks" / "figure.html"
    worse = page.with_name("worse.html")
    worse.write_text(page.read_text().replace("bokeh-gl.min.js", "lost.js"))
    without_bokeh = page.with_name("without_bokeh.html")
    without_bokeh.write_text(page.read_text().replace("bokeh.min.js", "lost.js"))
    lost, blank = browsing.visit(browser, [worse, without_bokeh])
    assert [Path(address.partition("?")[0]).name for address in lost.failed] == ["lost.js"]
    assert blank.n_blank == 3


@pytest.mark.slow
def test_a_slider_and_a_legend_work_without_kernel(tiny_book, browser):
    tab = browser.new_context(offline=True).new_page()
    tab.goto((tiny_book / "notebooks" / "figure.html").as_uri())
    tab.locator(".noUi-handle").wait_for()
    assert tab.evaluate(SHOWN) == {"titles": ["height: 2"], "muted": 0}
    tab.locator(".noUi-handle").focus()
    tab.keyboard.press("ArrowRight")
    tab.locator(".bk-Legend .bk-item").first.click()
    tab.wait_for_function(f"() => ({SHOWN})().muted == 1")
    assert tab.evaluate(SHOWN)["titles"] == ["height: 3"]
    assert tab.locator("mjx-container").count() == 1
    tab.context.close()


def test_the_example_of_a_training_trains_and_keeps_a_model_that_opens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    page = (BOOK / "training.md").read_text().replace("max_steps=2000", "max_steps=20")
    training, _, keeping, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(training, names)
    exec(re.sub(r"    onnx=.*\n", "", keeping), names)
    assert names["models"].find("sum-of-eight").manifest.metrics["error"].value == 0.021
    assert names["trained"].n_steps == 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
def test_the_recipe_copies_a_model_to_mlflow_with_parameters_metrics_hash_and_files(
    tmp_path, monkeypatch
):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    saved = small_models.save("sum-of-eight")
    recipe = re.findall(r"```python\n(.*?)```", (BOOK / "training.md").read_text(), re.DOTALL)[-1]
    names: dict = {}
    exec(recipe, names)
    client = MlflowClient()
    run = client.get_run(names["run"])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"learning_rate": "0.001", "n_epochs": "3"}
    assert run.data.metrics == {"accuracy": 0.97, "width_error_s": 0.002}
    copied = client.download_artifacts(names["run"], "model", str(tmp_path))
    assert open_model(Path(copied)).manifest_sha256 == saved.manifest_sha256


def test_every_signature_of_the_reference_is_python_to_a_highlighter():
    page = "".join(reference.library(name) for name in (*reference.DOORS, *reference.TWINS))
    signatures = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    wrong = [
        text for text in signatures if Error in {kind for kind, _ in PythonLexer().get_tokens(text)}
    ]
    assert len(signatures) > 100
    assert wrong == []
