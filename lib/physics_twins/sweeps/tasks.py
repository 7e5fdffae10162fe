"""What a sweep or study repeats: a library function or a notebook, with checked parameters."""

import importlib
import inspect
import secrets
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, create_model

from physics_twins import data, runs
from physics_twins.parameters import FieldDescription, Parameters, check, field

_PLAIN = (float, int, bool, str)


class TaskError(ValueError):
    """A function or notebook that cannot be repeated; the message says why."""


@dataclass(frozen=True)
class Task:
    """What is repeated.

    Attributes:
        name: As in `physics_twins.pulsar.evaluate:recovery`, or of a notebook as in `pulsar/4_infer`.
        title: One line.
        sha256: Hash of what is called; the library's own code enters `code` and a cell's key.
        twins: Whose code it depends on, see `runs.source_sha256`.
        fields: What is known of every parameter, by name.
        check: Returns all parameters, those given before the defaults, with input files as absolute
            paths; raises `ParameterError` for what is unknown, missing or wrong.
        compute: Returns, of checked parameters and of the folder for files, what a record keeps:
            metrics, the name of a file with its hash, or that of a run.
    """

    name: str
    title: str
    sha256: str
    twins: tuple[str, ...] | None
    fields: dict[str, FieldDescription]
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    compute: Callable[[Mapping[str, Any], Path], dict[str, Any]]

    @property
    def code(self) -> str:
        """Hash of all code that it depends on: a worker must have the same."""
        return runs.json_sha256([self.sha256, runs.source_sha256(self.twins)])

    def key(self, values: Mapping[str, Any]) -> str:
        """Return the SHA-256 that stands for one result: code, parameters and content of input files.

        Args:
            values: Every parameter, checked.
        """
        return runs.identity(self.sha256, self.fields, values, self.twins)


def find_task(what: str | Callable[..., Any]) -> Task:
    """Return the task that a name or a function stands for.

    An argument of a function whose annotation is a `Parameters` model takes all the fields of that
    model; one annotated float, int, bool or str is a parameter by itself; others keep their defaults.

    Args:
        what: `module:function`, where `physics_twins.` may be left out; a function of a module; or a
            notebook by name or path.

    Raises:
        TaskError: There is no such function, or one of its arguments is of no kind that can be given.
        NotebookError: There is no such notebook.
    """
    if not isinstance(what, str):
        return _of_function(what)
    module, colon, function = what.partition(":")
    return _of_function(_named(module, function)) if colon else _of_notebook(runs.notebook(what))


def _of_notebook(notebook: runs.Notebook) -> Task:
    """Return a notebook as a task; each of its cells is a run of its own."""

    def complete(values: Mapping[str, Any]) -> dict[str, Any]:
        # A cell's own heavy work stays in its kernel unless told otherwise.
        return notebook.check({"on": "threads", **values})

    def compute(values: Mapping[str, Any], cells: Path) -> dict[str, Any]:
        given = {name: value for name, value in values.items() if name != "run_dir"}
        run = runs.run(notebook.path, given, root=cells)
        record = run.provenance
        if run.status != "complete":
            raise TaskError(f"cell {record['cell']}: {record['error']} (see {run.folder.name})")
        for each in record["sources"]:
            data.note(**each)
        return {"run": run.folder.name, "metrics": run.metrics}

    is_known = runs.available().get(notebook.name) == notebook.path
    return Task(
        name=notebook.name if is_known else str(notebook.path),
        title=notebook.title,
        sha256=notebook.sha256,
        twins=notebook.twins,
        fields=notebook.fields,
        check=complete,
        compute=compute,
    )


class _Arguments(Parameters):
    """Base of a function's plain arguments, which have no range but must be numbers."""

    model_config = ConfigDict(allow_inf_nan=False)


def _of_function(function: Callable[..., Any]) -> Task:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    address = f"{module}:{name or repr(function)}"
    here = sys.modules.get(str(module))
    if not name or module == "__main__" or getattr(here, name, None) is not function:
        raise TaskError(f"workers cannot import {address}: define it at the top of a module file")
    by_argument, plain = _arguments(function, address)
    plain_model = create_model("Arguments", __base__=_Arguments, **plain)
    models = [*by_argument.values(), plain_model]
    names = [field for model in models for field in model.model_fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TaskError(f"two arguments of {address} take {', '.join(twice)}: rename one")
    fields = {name: info for model in models for name, info in model.describe().items()}

    def complete(values: Mapping[str, Any]) -> dict[str, Any]:
        return check(models, values)

    def compute(values: Mapping[str, Any], cells: Path) -> dict[str, Any]:
        given = {name: model.take(values) for name, model in by_argument.items()}
        return _kept(address, function(**given, **{name: values[name] for name in plain}), cells)

    is_ours = address.startswith("physics_twins.")
    content = {"function": address, "module": "" if is_ours else _module_sha256(here)}
    return Task(
        name=address,
        title=(inspect.getdoc(function) or address).splitlines()[0],
        sha256=runs.json_sha256(content),
        twins=tuple(address.split(".")[1:2]) if is_ours else None,
        fields=fields,
        check=complete,
        compute=compute,
    )


def _named(module: str, function: str) -> Callable[..., Any]:
    names = [module] if module.startswith("physics_twins.") else [module, f"physics_twins.{module}"]
    for name in names:
        try:
            imported = importlib.import_module(name)
        except Exception as error:  # importing runs somebody's code
            if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                continue
            raise TaskError(f"{name} cannot be imported: {error}") from None
        found = getattr(imported, function, None)
        if callable(found) and not isinstance(found, type):
            return found
        raise TaskError(f"module {name} has no function {function!r}")
    raise TaskError(
        f"there is no module {module} where Python looks (PYTHONPATH adds folders);"
        " write module:function, or the name of a notebook"
    )


def _arguments(
    function: Callable[..., Any], address: str
) -> tuple[dict[str, type[Parameters]], dict[str, Any]]:
    """Return by argument the models, and the declarations of those that are parameters themselves."""
    try:
        hints = typing.get_type_hints(function)
        arguments = inspect.signature(function).parameters.values()
    except Exception as error:  # annotations are somebody's code too
        raise TaskError(f"the arguments of {address} cannot be read: {error}") from None
    models: dict[str, type[Parameters]] = {}
    plain: dict[str, Any] = {}
    for argument in arguments:
        name, hint = argument.name, hints.get(argument.name)
        required = argument.default is argument.empty
        by_name = argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
        if by_name and isinstance(hint, type) and issubclass(hint, Parameters):
            models[name] = hint
        elif by_name and hint in _PLAIN:
            if name.startswith("_") or hasattr(_Arguments, name):
                raise TaskError(f"argument {name} of {address} has a name that a parameter cannot have")
            default = ... if required else argument.default
            plain[name] = (hint, field(default, help=f"Argument of {function.__name__}"))
        elif required and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            kinds = "a Parameters model, float, int, bool or str"
            raise TaskError(
                f"argument {name} of {address} must be given by name and annotated as {kinds}"
            )
    return models, plain


def _kept(name: str, result: Any, cells: Path) -> dict[str, Any]:
    """Return what a record keeps of a function's result; a dataset is written to a file of its own."""
    xarray = sys.modules.get("xarray")
    if xarray and isinstance(result, xarray.Dataset):
        # Two workers may compute a cell when one was taken for dead: neither disturbs the other's file.
        path = cells / f"{secrets.token_hex(16)}.nc"
        data.save(result, path)
        digest = data.file_sha256(path)
        return {"file": path.name, "sha256": digest, "bytes": path.stat().st_size}
    metrics = result if isinstance(result, Mapping) else {"result": result}
    try:
        if result is None:  # in metrics None stands for a number that is not finite
            raise ValueError("it returned nothing")
        return {"metrics": data.plain_metrics(metrics)}
    except ValueError as error:
        wanted = "a number, a mapping of metrics or an xarray.Dataset"
        raise TaskError(f"{name} must return {wanted}: {error}") from None


def _module_sha256(module: Any) -> str:
    """Return the hash of a module's file, as it is now."""
    file = getattr(module, "__file__", None)
    return data.file_sha256(Path(file)) if file else ""
