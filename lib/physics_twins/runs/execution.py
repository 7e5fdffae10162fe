"""One notebook through papermill: followed cell by cell, kept whatever happens, and its page."""

import functools
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any, TextIO

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbformat.sign import NotebookNotary
from papermill import PapermillExecutionError, execute_notebook
from traitlets import Dict, default
from traitlets.config import Config

from physics_twins.data import write_text
from physics_twins.runs.stills import stills

# A socket's path may have 107 bytes; ours end in "/twins-xxxxxxxx/kernel-1".
_LONGEST_PLACE_BYTES = 80

# The blocks left empty load scripts from elsewhere. Formulas are MathML, which browsers draw.
# Colours of nbconvert that have less contrast than 4.5 against their ground are replaced.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{% block body_header %}{{ super() }}<noscript>Scripts do not run here, and figures are still
pictures. To zoom them press <b>Trust HTML</b> above, or open this page in a tab of its own.</noscript>
{% endblock %}
{% block html_head_css %}{{ super() }}<style>
:root { --jp-mirror-editor-number-color: #006400; --jp-mirror-editor-comment-color: #2f6161;
  --jp-mirror-editor-operator-color: #8a00d4; --jp-cell-prompt-opacity: 1;
  --jp-cell-prompt-not-active-opacity: 1; --jp-cell-prompt-not-active-font-color: #595959; }
.jp-InputPrompt, .jp-OutputPrompt { color: #595959; }
.jp-RenderedHTMLCommon a, .jp-RenderedHTMLCommon a:link { text-decoration: underline; }
</style>{% endblock %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block input_group %}<details><summary>code</summary>{{ super() }}</details>{% endblock %}
"""
_ONE_AT_A_TIME = threading.Lock()  # an exporter is shared by the threads of a process
_WIDGET = "application/vnd.jupyter.widget-view+json"
_BAR = re.compile(r"[^|]*\d+%\|")  # what a progress bar is as text
_BARS = re.compile(r"^.*\[(\d+:)?\d+:\d\d(<[\d:?]+)?, .*?(/s|s/).*\n?", re.MULTILINE)  # in a stream
_STILL = 'class="twin-still"'  # around the picture of itself that a panel leaves
_INSTEAD_OF_A_WIDGET = "<p><em>In JupyterLab a live panel stands here.</em></p>"


def execute(
    source: Path,
    folder: Path,
    values: Mapping[str, Any],
    *,
    report: Path,
    environment: Mapping[str, str],
    starts: Callable[[str], None],
    progress: TextIO | None,
) -> str:
    """Execute a notebook, saved after each cell, and write its page, whatever happens.

    Args:
        source: The notebook.
        folder: Where the kernel works, and the executed notebook is saved.
        values: Every parameter, checked: names go into code as they are.
        report: The page.
        environment: What the kernel's environment has besides this process's.
        starts: Called with number and title of each cell that starts.
        progress: Takes what the cells write.

    Returns:
        The error that it ended with, in a line; "" where it is complete.

    Raises:
        KeyboardInterrupt: The user stopped it.
    """
    notebook = nbformat.read(source, as_version=4)
    output = folder / source.name
    told = iter(_told(notebook))
    logging.getLogger("papermill").addFilter(_is_news)
    exporter = ThreadPoolExecutor(1).submit(load_exporter)  # while the kernel starts
    try:
        with _kernel_transport() as transport:
            execute_notebook(
                notebook,
                _literal(output),
                parameters=dict(values),
                # Not papermill's `cwd`: it moves this whole process, where others may run beside.
                resources={"metadata": {"path": str(folder)}},
                config=Config(KernelManager=transport, OwnInterpreter={"more": dict(environment)}),
                kernel_name=NATIVE_KERNEL_NAME,
                kernel_manager_class=OwnInterpreter,
                progress_bar=False,
                stdout_file=progress,
                stderr_file=progress,
                on_cell_start=lambda cell, cell_index: starts(next(told)) if _is_code(cell) else None,
                store_widget_state=False,
                extra_arguments=[
                    "--log-level=CRITICAL"
                ],  # the kernel's own troubles; cells tell theirs
            )
        write_report(exporter.result(), output, report)
    except BaseException as error:  # a kernel that died or did not start, a full disk: all end the run
        with suppress(Exception):
            write_report(exporter.result(), output, report)
        if not isinstance(error, Exception):
            raise
        is_cell = isinstance(error, PapermillExecutionError)
        name, words = (error.ename, error.evalue) if is_cell else (type(error).__name__, error)
        return f"{name}: {words}".strip().rpartition("\n")[2]
    return ""


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether papermill tells news: what a notebook declares, its cell need not name."""
    return not record.getMessage().startswith("Passed unknown parameter")


class OwnInterpreter(AsyncKernelManager):
    """Starts this process's Python, whatever kernels of the same name the user has installed."""

    more = Dict(help="What the kernel's environment has besides this process's.").tag(config=True)

    @default("kernel_spec_manager")
    def _without_folders(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    async def _async_pre_start_kernel(self, **options: Any) -> Any:
        environment = {**os.environ, **(options.pop("env", None) or {}), **self.more}
        return await super()._async_pre_start_kernel(**options, env=environment)

    pre_start_kernel = run_sync(_async_pre_start_kernel)


@contextmanager
def _kernel_transport() -> Iterator[dict[str, str]]:
    """Yield settings that talk to the kernel through sockets in a private folder.

    Ports could be taken by another kernel in the meantime, and be listened to by other users.
    """
    if sys.platform == "win32":
        yield {}
        return
    is_long = len(os.fsencode(tempfile.gettempdir())) > _LONGEST_PLACE_BYTES
    place = "/tmp" if is_long else None  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(prefix="twins-", dir=place, ignore_cleanup_errors=True) as folder:
        yield {"transport": "ipc", "ip": f"{folder}/kernel"}


def _told(notebook: nbformat.NotebookNode) -> list[str]:
    """Return number and title of each code cell: the comment it begins with, or the heading before."""
    heading, titles = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^#[# ]*(.*)", cell.source, re.MULTILINE)
            heading = found[1] if found else heading
        elif _is_code(cell):
            first = cell.source.strip().splitlines()[0]
            title = first.lstrip("# ") if first.startswith("#") else heading or first[:60]
            titles.append("parameters" if "parameters" in cell.metadata.get("tags", []) else title)
    return [f"{number} of {len(titles)} ({title})" for number, title in enumerate(titles, start=1)]


def _is_code(cell: nbformat.NotebookNode) -> bool:
    injected = "injected-parameters" in cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and not injected


def _literal(path: Path) -> str:
    """Return a path that papermill does not take for a template."""
    return str(path).replace("{", "{{").replace("}", "}}")


@functools.cache
def load_exporter() -> Any:
    """Return what turns notebooks into pages, with its templates compiled; takes half a second."""
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    def drawn(formula: str, display: str) -> str:
        try:
            return convert(formula, display=display)
        except Exception:  # of many kinds; what is no formula is shown as it was written
            return f"<code>{escape(formula)}</code>"

    class WithFormulas(IPythonRenderer):
        def inline_math(self, body: str) -> str:
            return drawn(body, "inline")

        def block_math(self, body: str) -> str:
            return drawn(body, "block")

    def markdown2html(source: str) -> str:
        return MarkdownWithMath(renderer=WithFormulas(escape=False)).render(source)

    exporter = HTMLExporter(raw_template=_TEMPLATE)
    exporter.register_filter("markdown2html", markdown2html)
    exporter.from_notebook_node(nbformat.v4.new_notebook())
    return exporter


def write_report(exporter: Any, notebook: Path, page: Path) -> None:
    """Settle an executed notebook's progress bars, trust it, and write its page; each in one step."""
    from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

    read = nbformat.read(notebook, as_version=4)
    content, _ = CoalesceStreamsPreprocessor().preprocess(read, {})
    cells = [cell for cell in content.cells if cell.cell_type == "code"]
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                output.text = _BARS.sub("", output.text)
        cell.outputs = _settled([output for output in cell.outputs if not _is_nothing(output)])
    write_text(notebook, nbformat.writes(content))
    with suppress(Exception):  # so that its figures are drawn when it is opened; it may be read anyway
        NotebookNotary().sign(content)
    for cell in cells:
        for output in cell.outputs:
            _leave_stills(output)
    with _ONE_AT_A_TIME:
        body, _ = exporter.from_notebook_node(content, resources={"metadata": {"name": notebook.stem}})
    write_text(page, body)


def _leave_stills(output: nbformat.NotebookNode) -> None:
    """Add pictures of an output's figures, which a browser shows where scripts do not run."""
    html = output.get("data", {}).get("text/html", "")
    with suppress(Exception):  # whatever cannot be drawn so is drawn by its script
        if drawn := "".join(stills(html)):
            output["data"]["text/html"] = f"{html}<noscript>{drawn}</noscript>"


def _settled(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs in which a sentence stands for a widget, which draws nothing without its kernel.

    Where a panel has left its picture, that is there already.
    """
    is_drawn = any(_STILL in output.get("data", {}).get("text/html", "") for output in outputs)
    widgets = [output for output in outputs if _WIDGET in output.get("data", {})]
    for output in widgets:
        output["data"] = {"text/html": _INSTEAD_OF_A_WIDGET}
    return [output for output in outputs if not (is_drawn and output in widgets)]


def _is_nothing(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is empty, or a progress bar that its kernel has left behind."""
    if output.output_type == "stream":
        return not output.text.strip()
    data = output.get("data", {"of an error": ""})
    return not data or (_WIDGET in data and bool(_BAR.match(data.get("text/plain", ""))))
