"""One notebook through papermill: followed cell by cell, kept whatever happens."""

import functools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill import PapermillExecutionError, execute_notebook
from traitlets import default
from traitlets.config import Config

from physics_twins.runs import lifecycle, provenance
from physics_twins.runs.folder import PROVENANCE, REPORT, Run, RunError, default_root
from physics_twins.runs.progress import Progress, tidy, write

# A socket's path may have 107 bytes; ours end in "/twins-xxxxxxxx/kernel-1".
LONGEST_PLACE_BYTES = 80


def execute(
    source: Path,
    values: Mapping[str, Any],
    run: Run,
    progress: Callable[[str], None],
) -> None:
    """Execute a notebook into its run's folder and mark how the run ended.

    The executed notebook is saved after each cell. The kernel works in the run's folder.

    Args:
        source: The notebook.
        values: Every parameter, checked: names go into code as they are.
        run: Where everything is written.
        progress: Called with each line on what happens.

    Raises:
        KeyboardInterrupt: The user stopped it; the run is marked cancelled.
    """
    notebook = nbformat.read(source, as_version=4)
    output = run.folder / source.name
    follower = _Follower(notebook, run, progress)
    status, error = "failed", None
    helper = ThreadPoolExecutor(1)
    exporter = helper.submit(_load_exporter)  # while the kernel starts
    try:
        _papermill(notebook, output, values, run, follower)
        exporter.result()(output, run.folder / REPORT)
        status = "complete"
    except KeyboardInterrupt:
        status, error = "cancelled", "stopped by the user"
        raise
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except Exception as failure:  # a kernel that died or did not start, a full disk: all end the run
        error = f"{type(failure).__name__}: {failure}"
    finally:
        follower.finish_line()
        tidy(run)
        if status == "complete":
            lifecycle.end(run, status)
        else:
            with suppress(Exception):
                exporter.result()(output, run.folder / REPORT)
            last_line = (error or "").strip().rpartition("\n")[2]
            lifecycle.end(run, status, error=last_line, cell=follower.cell)


@functools.cache
def _load_exporter() -> Callable[[Path, Path], None]:
    from physics_twins.runs import report

    return functools.partial(report.write, report.load_exporter())


def _papermill(
    notebook: nbformat.NotebookNode,
    output: Path,
    values: Mapping[str, Any],
    run: Run,
    follower: "_Follower",
) -> None:
    with _kernel_transport() as config, _signs_of_life(run):
        execute_notebook(
            notebook,
            _literal(output),
            parameters=dict(values) | {"run_dir": str(run.folder)},
            # Not papermill's `cwd`: it moves this whole process, where others may run beside.
            resources={"metadata": {"path": str(run.folder)}},
            config=config,
            kernel_name=NATIVE_KERNEL_NAME,
            kernel_manager_class=_OwnInterpreter,
            progress_bar=False,
            stdout_file=follower,
            stderr_file=follower,
            on_cell_start=follower.cell_starts,
            on_cell_executed=follower.cell_ends,
            store_widget_state=False,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's own troubles; cells tell theirs
        )


class _OwnInterpreter(AsyncKernelManager):
    """Starts this process's Python, whatever kernels of the same name the user has installed."""

    @default("kernel_spec_manager")
    def _without_folders(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    async def _async_pre_start_kernel(self, **options: Any) -> Any:
        """Let the kernel, which works in the run's folder, look where this process does."""
        places = {"PHYSICS_TWINS_RUNS": str(default_root())}
        for name in ("PHYSICS_TWINS_MODELS", "PHYSICS_TWINS_DATA"):
            if named := os.environ.get(name):
                places[name] = str(Path(named).expanduser().resolve())
        environment = {**os.environ, **(options.pop("env", None) or {}), **places}
        return await super()._async_pre_start_kernel(**options, env=environment)

    pre_start_kernel = run_sync(_async_pre_start_kernel)


@contextmanager
def _signs_of_life(run: Run) -> Iterator[None]:
    """Change the time of the provenance's file now and then, for whoever looks from another machine."""
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(provenance.ALIVE_S):
            with suppress(OSError):
                os.utime(run.folder / PROVENANCE)

    thread = threading.Thread(target=show, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _kernel_transport() -> Iterator[Config]:
    """Yield a configuration that talks to the kernel through sockets in a private folder.

    Ports could be taken by another kernel in the meantime, and be listened to by other users.
    """
    if sys.platform == "win32":
        yield Config()
        return
    options: dict[str, Any] = {"prefix": "twins-", "dir": _socket_place()}
    with tempfile.TemporaryDirectory(**options, ignore_cleanup_errors=True) as folder:
        yield Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})


def _socket_place() -> str:
    """Return a folder whose name leaves room for those of sockets: the temporary one if it does.

    Raises:
        RunError: There is none.
    """
    places = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/dev/shm"]  # noqa: S108
    for place in filter(None, places):
        if len(os.fsencode(place)) <= LONGEST_PLACE_BYTES and os.access(place, os.W_OK | os.X_OK):
            return place
    raise RunError(
        f"TMPDIR = {places[0]} is too long for the kernel's sockets: set it to a folder of at most"
        f" {LONGEST_PLACE_BYTES} characters"
    )


class _Follower:
    """Tells which cell runs, and passes its output on line by line."""

    def __init__(
        self, notebook: nbformat.NotebookNode, run: Run, progress: Callable[[str], None]
    ) -> None:
        self._run, self._progress = run, progress
        self._total = sum(_is_code(cell) for cell in notebook.cells)
        self._number = 0
        self._heading = ""
        self._unfinished = ""
        self._started = time.monotonic()
        self.cell: str | None = None

    def cell_starts(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Announce a cell, under the heading that stands before it."""
        if cell.cell_type == "markdown":
            self._heading = _heading(cell.source) or self._heading
        if not _is_code(cell):
            return
        self._number += 1
        self._started = time.monotonic()
        tags = cell.metadata.get("tags", [])
        title = "parameters" if "parameters" in tags else _title(cell.source, self._heading)
        self.cell = f"{self._number} of {self._total} ({title})"
        write(self._run, Progress(self._number, self._total, title))
        self._progress(f"cell {self.cell}")

    def cell_ends(self, cell: nbformat.NotebookNode, cell_index: int, execute_reply: Any) -> None:
        """Tell how long a cell took, where that was felt."""
        self.finish_line()
        spent_s = time.monotonic() - self._started
        if _is_code(cell) and spent_s >= 1.0:
            self._progress(f"  took {spent_s:.1f} s")

    def write(self, text: str) -> None:
        """Take a piece of a cell's output; of a line that is drawn over again the last state counts."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._progress("  " + line.rstrip("\r").rpartition("\r")[2])

    def finish_line(self) -> None:
        """Show what a cell wrote after its last line end."""
        if self._unfinished:
            self.write("\n")

    def flush(self) -> None:
        """Papermill calls this after each piece; an unfinished line waits for its end."""


def _is_code(cell: nbformat.NotebookNode) -> bool:
    injected = "injected-parameters" in cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and not injected


def _heading(markdown: str) -> str:
    headings = (line.lstrip("# ") for line in markdown.splitlines() if line.startswith("#"))
    return next(headings, "")


def _title(code: str, heading: str) -> str:
    """Return the comment that a cell begins with, else the heading above it, else its first line."""
    first = code.strip().splitlines()[0]
    return first.lstrip("# ") if first.startswith("#") else heading or first[:60]


def _literal(path: Path) -> str:
    """Return a path that papermill does not take for a template."""
    return str(path).replace("{", "{{").replace("}", "}}")
