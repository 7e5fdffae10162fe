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
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins import clusters
from physics_twins import data
from physics_twins.runs import lifecycle, provenance
from physics_twins.parameters import Execution, FieldDescription, ParameterError, Parameters, check
from physics_twins.runs.folder import Run


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
        farms: Whether it uses `on`, and so farms work out.
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
    farms: bool
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
        return with_files(self.fields, complete)


def with_files(fields: Mapping[str, FieldDescription], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the paths of input files made absolute.

    Raises:
        ParameterError: An input file is not there.
    """
    files = [name for name, info in fields.items() if info.input_file and values[name]]
    return {**values, **{name: str(_existing(name, values[name])) for name in files}}


def folders() -> list[Path]:
    """Return the folders that notebooks are taken from: the project's, then the package's."""
    return [home / "notebooks" for home in data.homes()]


def available() -> dict[str, Path]:
    """Return every notebook's path by its name, in order of the names."""
    found: dict[str, Path] = {}
    for folder in reversed(folders()):
        found |= {
            p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.glob("[!.]*/*.ipynb")
        }
    return dict(sorted(found.items()))


def find(name: str | Path) -> Path:
    """Return the path of a notebook, given by its name or by its path.

    Raises:
        NotebookError: There is none; the nearest name is suggested.
    """
    if str(name).endswith(".ipynb"):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise NotebookError(f"there is no notebook {name}")
        return path
    known = available()
    if name in known:
        return known[str(name)]
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.3)
    hint = (
        f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known) or 'none here'}"
    )
    raise NotebookError(f"unknown notebook {str(name)!r}; {hint}")


def read(name: str | Path) -> Notebook:
    """Return a notebook's declarations; nothing in it is executed.

    Raises:
        NotebookError: It is not there, is no notebook, or declares its parameters wrongly.
    """
    path = find(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [_Cell.of(cell) for cell in content["cells"]]
        declared = content["metadata"].get("physics_twins", {})
        models = tuple(_model(text) for text in declared.get("parameters", []))
        checks = tuple(_check(text) for text in declared.get("checks", []))
        _check_models(models)
        given = _literals(cells)
        defaults = check(models, given)
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__} "
        raise NotebookError(f"{path}: {kind}{error}") from None
    source = [(cell.kind, cell.tags, cell.source) for cell in cells]
    code = [cell.source for cell in cells if cell.kind == "code"]
    return Notebook(
        name=f"{path.parent.name}/{path.stem}",
        path=path,
        title=declared.get("title") or _first_heading(cells) or path.stem,
        models=models,
        defaults=defaults,
        in_cell=tuple(given),
        checks=checks,
        farms=any(_uses(cell, "on") for cell in cells if "parameters" not in cell.tags),
        time=_time(cells),
        sha256=provenance.json_sha256({"cells": source, "declared": declared}),
        twins=provenance.named_twins("\n".join([*code, *declared.get("parameters", [])])),
    )


def run(
    name: "str | Path | Notebook",
    values: Mapping[str, Any] | None = None,
    *,
    on: str | None = None,
    out: str | Path | None = None,
    root: Path | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Run:
    """Execute a notebook with checked parameters in a run folder of its own.

    Args:
        name: Its name, as in `pulsar/4_infer`, its path, or what `read` returned.
        values: Parameters by name; the others keep their defaults.
        on: Where heavy work runs, see `clusters.connect`.
        out: The run's folder; by default a numbered one under `root`.
        root: Where numbered folders are; by default the notebook's own under `runs/`.
        force: Whether to execute again what has finished already.
        progress: Called with each line on what happens, as it happens.

    Returns:
        The run, complete or failed (see its `status`), or the finished one that was there before.

    Raises:
        NotebookError: There is no such notebook, or it declares its parameters wrongly.
        ParameterError: A parameter is refused; no kernel has started.
        RunError: `out` is taken.
        KeyboardInterrupt: The user stopped it; the run is marked cancelled.
    """
    notebook = name if isinstance(name, Notebook) else read(name)
    given = dict(values or {}) | ({} if on is None else {"on": on})
    out = out or given.pop("run_dir", None)
    complete = notebook.check(given)
    run = lifecycle.begin(
        notebook.name,
        notebook.sha256,
        complete,
        inputs=_inputs(notebook, complete),
        twins=notebook.twins,
        out=Path(out) if out else None,
        root=root,
        force=force,
    )
    if not run.reused:
        from physics_twins.runs import execution

        execution.execute(notebook.path, complete, run, progress or _silent)
    return run


def find_finished(
    notebook: Notebook, values: Mapping[str, Any], root: Path | None = None
) -> Run | None:
    """Return the finished run that these values have already; None where it must be computed.

    Args:
        notebook: As from `read`.
        values: Parameters by name; the others keep their defaults.
        root: Where numbered folders are; by default the notebook's own under `runs/`.

    Raises:
        ParameterError: A parameter is refused.
    """
    complete = notebook.check(values)
    inputs = _inputs(notebook, complete)
    return lifecycle.find_finished(
        notebook.name, notebook.sha256, complete, inputs=inputs, twins=notebook.twins, root=root
    )


def _inputs(notebook: Notebook, complete: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = [name for name, info in notebook.fields.items() if info.input_file and complete[name]]
    return [provenance.describe_input(name, Path(complete[name])) for name in files]


@dataclass(frozen=True)
class _Cell:
    kind: str
    tags: list[str]
    source: str

    @classmethod
    def of(cls, cell: Mapping[str, Any]) -> "_Cell":
        source = cell["source"]
        text = source if isinstance(source, str) else "".join(source)
        return cls(cell["cell_type"], cell.get("metadata", {}).get("tags", []), text)


def _uses(cell: _Cell, name: str) -> bool:
    """Return whether a cell's code reads a variable."""
    if cell.kind != "code":
        return False
    try:
        nodes = ast.walk(ast.parse(cell.source))
    except SyntaxError:  # one of IPython's own commands
        return bool(re.search(rf"\b{name}\b", cell.source))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def _model(text: str) -> type[Parameters]:
    """Return the class that `module:Name` names."""
    model = _imported(text, "parameters")
    if not (isinstance(model, type) and issubclass(model, Parameters)):
        raise NotebookError(f"declared parameters {text!r} are no Parameters model")
    return model


def _check(text: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function that `module:name` names."""
    function = _imported(text, "checks")
    if not callable(function):
        raise NotebookError(f"declared checks {text!r} are no function")
    return function


def _imported(text: str, what: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotebookError(f"declared {what} {text!r} cannot be imported: {error}") from None


def _check_models(models: tuple[type[Parameters], ...]) -> None:
    if Execution not in models:
        raise NotebookError("its metadata must declare physics_twins.parameters:Execution")
    names = [name for model in models for name in model.model_fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotebookError(f"two of its models declare {', '.join(twice)}")


def _literals(cells: list[_Cell]) -> dict[str, Any]:
    """Return the plain assignments of the cells tagged `parameters`."""
    values: dict[str, Any] = {}
    for cell in cells:
        if cell.kind == "code" and "parameters" in cell.tags:
            values |= dict(map(_assignment, ast.parse(cell.source).body))
    return values


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    target = statement.target if isinstance(statement, ast.AnnAssign) else target
    try:
        if isinstance(target, ast.Name) and isinstance(statement, ast.Assign | ast.AnnAssign):
            return target.id, ast.literal_eval(statement.value or ast.Constant(None))
    except ValueError:
        pass
    line = ast.unparse(statement).splitlines()[0]
    raise NotebookError(f"its parameters cell may hold only plain values, found: {line}")


def _existing(name: str, value: str) -> Path:
    path = Path(value).expanduser().resolve()
    if not path.is_file():
        raise ParameterError(f"{name} = {value!r}: there is no such file")
    return path


def _first_heading(cells: list[_Cell]) -> str:
    lines = (line for cell in cells if cell.kind == "markdown" for line in cell.source.splitlines())
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")


def _time(cells: list[_Cell]) -> str:
    """Return the entry `time` of the table in the first cell."""
    match = re.search(r"^\|\s*time\s*\|\s*(.*?)\s*\|", cells[0].source if cells else "", re.MULTILINE)
    return match[1] if match else ""


def _silent(line: str) -> None:
    """Drop a line of progress."""
