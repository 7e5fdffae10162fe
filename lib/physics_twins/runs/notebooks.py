"""Notebooks with declared parameters: found, read, checked, and run without a browser.

A notebook names its parameter models in its metadata,
`{"physics_twins": {"parameters": ["physics_twins.parameters:Execution", ...]}}`, and may set other
defaults than theirs, as plain values, in its cell tagged `parameters`. What it makes of them later is
refused before it starts, too, by functions of all values that it names under `checks`.
"""

import ast
import difflib
import importlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from physics_twins import clusters, data
from physics_twins.parameters import Execution, FieldDescription, Parameters, check
from physics_twins.runs import folder, provenance
from physics_twins.runs.folder import Run, RunError


class NotebookError(ValueError):
    """A notebook that is not there or is not declared as it should be; the message names it."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's source, and what may be set in it.

    Attributes:
        name: As in `pulsar/4_infer`.
        path: The file.
        title: One line.
        models: The models that declare its parameters.
        defaults: Every parameter by name, with the notebook's own defaults before the models'.
        in_cell: Names of those in its cell tagged `parameters`, in order.
        checks: Functions that raise `ParameterError` for values which a later cell would refuse.
        time: How long it takes, in the words of its first cell; "" where it does not say.
        sha256: Hash of cells and declarations; outputs do not enter.
        twins: Those that its code or its declarations name; None where none is named.
    """

    name: str
    path: Path
    title: str
    models: tuple[type[Parameters], ...]
    defaults: dict[str, Any]
    in_cell: tuple[str, ...]
    checks: tuple[Callable[[Mapping[str, Any]], Any], ...]
    time: str
    sha256: str
    twins: tuple[str, ...] | None

    @property
    def fields(self) -> dict[str, FieldDescription]:
        """What is known of every parameter, by name."""
        return {name: info for model in self.models for name, info in model.describe().items()}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, `values` before the defaults, with input files as absolute paths.

        Raises:
            ParameterError: A name is unknown, a value is wrong, or an input file is not there.
        """
        complete = check(self.models, {**self.defaults, **values})
        for refuse in self.checks:
            refuse(complete)
        clusters.check(complete["on"])
        return complete

    def find_finished(self, values: Mapping[str, Any]) -> Run | None:
        """Return the finished run that these values have already; None where it must be computed.

        Raises:
            ParameterError: A parameter is refused.
        """
        return folder.find_finished(self, self.check(values))


def available() -> dict[str, Path]:
    """Return every notebook's path by its name, in order: the project's before the library's."""
    found: dict[str, Path] = {}
    for place in (home / "notebooks" for home in reversed(data.homes())):
        paths = place.glob("[!.]*/*.ipynb")
        found |= {path.relative_to(place).with_suffix("").as_posix(): path for path in paths}
    return dict(sorted(found.items()))


def notebook(name: str | Path) -> Notebook:
    """Return a notebook's declarations; nothing in it is executed.

    Args:
        name: Its name, as in `pulsar/4_infer`, or its path.

    Raises:
        NotebookError: It is not there, is no notebook, or declares its parameters wrongly.
    """
    path = _find(str(name))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [_cell(cell) for cell in content["cells"]]
        declared = content["metadata"].get("physics_twins", {})
        models = tuple(_imported(text, "parameters") for text in declared.get("parameters", []))
        checks = tuple(_imported(text, "checks") for text in declared.get("checks", []))
        _check_models(models)
        code = [source for kind, tags, source in cells if kind == "code" and "parameters" not in tags]
        settings = [source for kind, tags, source in cells if kind == "code" and "parameters" in tags]
        given = {k: v for source in settings for k, v in map(_assignment, ast.parse(source).body)}
        defaults = check(models, given)
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__} "
        raise NotebookError(f"{path}: {kind}{error}") from None
    prose = [source for kind, _, source in cells if kind == "markdown"]
    heading = re.search(r"^#[# ]*(.*)", "\n".join(prose), re.MULTILINE)
    time = re.search(r"^\|\s*time\s*\|\s*(.*?)\s*\|", prose[0] if prose else "", re.MULTILINE)
    return Notebook(
        name=f"{path.parent.name}/{path.stem}",
        path=path,
        title=heading[1] if heading else path.stem,
        models=models,
        defaults=defaults,
        in_cell=tuple(given),
        checks=checks,
        time=time[1] if time else "",
        sha256=provenance.json_sha256({"cells": cells, "declared": declared}),
        twins=provenance.named_twins("\n".join([*code, *declared.get("parameters", [])])),
    )


def run(
    name: str | Path | Notebook,
    values: Mapping[str, Any] | None = None,
    *,
    on: str | None = None,
    out: str | Path | None = None,
    root: Path | None = None,
    force: bool = False,
    progress: TextIO | None = None,
) -> Run:
    """Execute a notebook with checked parameters in a run folder of its own.

    Args:
        name: Its name, as in `pulsar/4_infer`, its path, or what `notebook` returned.
        values: Parameters by name; the others keep their defaults.
        on: Where heavy work runs, see `clusters.connect`.
        out: The run's folder; by default a numbered one under `root`.
        root: Where numbered folders are; by default the notebook's own under `runs/`.
        force: Whether to execute again what has finished already.
        progress: Takes which cell runs, and what the cells write, as it happens.

    Returns:
        The run, complete or failed (see its `status`), or the finished one that was there before.

    Raises:
        NotebookError: There is no such notebook, or it declares its parameters wrongly.
        ParameterError: A parameter is refused; no kernel has started.
        RunError: `out` is taken.
        KeyboardInterrupt: The user stopped it; the run is marked cancelled.
    """
    known = name if isinstance(name, Notebook) else notebook(name)
    given = dict(values or {}) | ({} if on is None else {"on": on})
    out = out or given.pop("run_dir", None)
    complete = known.check(given)
    named = Path(out) if out else None
    begun = folder.begin(known, complete, out=named, root=root, force=force)
    if not begun.reused:
        _execute(known.path, complete, begun, progress)
    return begun


def rerun(address: str, *, on: str | None = None, progress: TextIO | None = None) -> tuple[Run, Run]:
    """Run a run's notebook again with its parameters, in a new folder; the old run is kept.

    Args:
        address: The run's folder, its name or how that begins.
        on: Where heavy work runs now.
        progress: As in `run`.

    Returns:
        The run that was there, and the new one, complete or failed.

    Raises:
        RunError: There is no such run, or it does not know its notebook.
    """
    first = folder.resolve(address)
    name = first.provenance.get("notebook")
    if not name:
        raise RunError(f"{first} does not say which notebook it is of, so it cannot be run again")
    return first, run(name, first.parameters, on=on, force=True, progress=progress)


def remember(opened: Run, name: str, values: Mapping[str, Any]) -> None:
    """Note in an interactive run which notebook it is of, and its parameters, so that it can be rerun.

    A run by `notebooks.run` has them noted already and is left as it is.

    Args:
        opened: From `runs.open_run`.
        name: The notebook's, as in `pulsar/4_infer`.
        values: Values of its parameters, by name; others, as `globals()` has, are left out.

    Raises:
        ParameterError: A value is refused.
    """
    if opened.status != "interactive":
        return
    known = notebook(name)
    complete = known.check({name: values[name] for name in known.defaults if name in values})
    opened.keep(complete)
    opened.note({"notebook": known.name})


def _execute(source: Path, values: Mapping[str, Any], begun: Run, progress: TextIO | None) -> None:
    """Execute a notebook into its run's folder, where it works, and mark how the run ended."""
    from physics_twins.runs import execution

    # The kernel looks where this process does, which may have named places by relative paths.
    named = {name: os.environ.get(name) for name in ("PHYSICS_TWINS_MODELS", "PHYSICS_TWINS_DATA")}
    places = {name: str(Path(path).expanduser().resolve()) for name, path in named.items() if path}
    status, error = "failed", ""

    def starts(cell: str) -> None:
        begun.note({"cell": cell})
        if progress:
            print(f"cell {cell}", file=progress, flush=True)

    try:
        with _signs_of_life(begun.folder / folder.PROVENANCE):
            error = execution.execute(
                source,
                begun.folder,
                {**values, "run_dir": str(begun.folder)},
                report=begun.report,
                environment=places
                | {
                    "PHYSICS_TWINS_RUNS": str(folder.default_root()),
                    "PHYSICS_TWINS_RUN": str(begun.folder),
                },
                starts=starts,
                progress=progress,
            )
        status = "failed" if error else "complete"
    except KeyboardInterrupt:
        status, error = "cancelled", "stopped by the user"
        raise
    finally:
        begun.end(status, error=error or None)


@contextmanager
def _signs_of_life(path: Path) -> Iterator[None]:
    """Change the time of a file now and then, for whoever looks from another machine."""
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(folder.ALIVE_S):
            with suppress(OSError):
                os.utime(path)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(show)
        try:
            yield
        finally:
            ended.set()


def _find(name: str) -> Path:
    known = available()
    path = Path(name).expanduser().resolve() if name.endswith(".ipynb") else known.get(name)
    if path and path.is_file():
        return path
    if path:
        raise NotebookError(f"there is no notebook {name}")
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "`twins notebooks` lists them"
    raise NotebookError(f"unknown notebook {name!r}; {hint}")


def _cell(cell: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """Return a cell's kind, tags and source, which may be one text or lines."""
    return cell["cell_type"], cell.get("metadata", {}).get("tags", []), "".join(cell["source"])


def _imported(text: str, what: str) -> Any:
    """Return what `module:name` stands for."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotebookError(f"declared {what} {text!r} cannot be imported: {error}") from None


def _check_models(models: tuple[Any, ...]) -> None:
    for model in models:
        if not (isinstance(model, type) and issubclass(model, Parameters)):
            raise NotebookError(f"declared parameters {model!r} are no Parameters model")
    if Execution not in models:
        raise NotebookError("its metadata must declare physics_twins.parameters:Execution")
    names = [name for model in models for name in model.model_fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotebookError(f"two of its models declare {', '.join(twice)}")


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    """Return name and value of a plain assignment."""
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            with suppress(ValueError):
                return name, ast.literal_eval(value)
    line = ast.unparse(statement).splitlines()[0]
    raise NotebookError(f"its parameters cell may hold only plain values, found: {line}")
