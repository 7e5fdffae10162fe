"""An executed notebook as one HTML page that opens from disk, its code folded away."""

import re
import threading
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

from physics_twins.data import write_text

# The blocks left empty load scripts from elsewhere. Formulas alone keep theirs, where there are any:
# without a network they are read as TeX.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_js_mathjax %}{% if resources.has_formulas %}{{ super() }}{% endif %}{% endblock %}
{% block input_group %}<details><summary>code</summary>{{ super() }}</details>{% endblock %}
"""
_ONE_AT_A_TIME = threading.Lock()  # an exporter is shared by the threads of a process
_WIDGET = "application/vnd.jupyter.widget-view+json"
_BAR = re.compile(r"[^|]*\d+%\|")  # what a progress bar is as text
_INSTEAD_OF_A_WIDGET = "<p><em>In JupyterLab a live panel stands here.</em></p>"


def load_exporter() -> HTMLExporter:
    """Return what turns notebooks into pages, with its templates compiled; takes half a second."""
    exporter = HTMLExporter(raw_template=_TEMPLATE)
    exporter.from_notebook_node(nbformat.v4.new_notebook())
    return exporter


def write(exporter: HTMLExporter, notebook: Path, page: Path) -> None:
    """Settle an executed notebook's progress bars, and write its page; each in one step."""
    content = nbformat.read(notebook, as_version=4)
    _settle(content)
    write_text(notebook, nbformat.writes(content))
    for cell in content.cells:
        outputs = cell.get("outputs", [])
        for output in outputs:
            if _WIDGET in output.get("data", {}):  # a widget without its kernel draws nothing
                output["data"] = {"text/html": _INSTEAD_OF_A_WIDGET}
        outputs[:] = [output for output in outputs if output.get("data", True)]
    has_formulas = any("$" in cell.source for cell in content.cells if cell.cell_type == "markdown")
    resources = {"has_formulas": has_formulas, "metadata": {"name": notebook.stem}}
    with _ONE_AT_A_TIME:
        body, _ = exporter.from_notebook_node(content, resources=resources)
    write_text(page, body)


def _settle(notebook: nbformat.NotebookNode) -> None:
    """Keep of what a progress bar wrote over itself only what stands there in the end."""
    merging = CoalesceStreamsPreprocessor()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            merging.preprocess_cell(cell, {}, number)
            cell.outputs = [o for o in cell.outputs if not _is_nothing(o)]


def _is_nothing(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is an empty text, or a progress bar that its kernel has left behind."""
    if output.output_type == "stream":
        return not output.text.strip()
    data = output.get("data", {})
    return _WIDGET in data and bool(_BAR.match(data.get("text/plain", "")))
