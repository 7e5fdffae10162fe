"""What a sweep or study repeats: a library function or a notebook, with checked parameters."""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, create_model

from physics_twins import runs
from physics_twins.data import file_sha256, plain_metrics
from physics_twins.parameters import FieldDescription, Parameters, check, field

_PLAIN = (float, int, bool, str)


class TaskError(ValueError):
    """A function or notebook that cannot be repeated; the message says why."""


@dataclass(frozen=True)
class FunctionTask:
    """A function of a module, called with keyword arguments.

    An argument whose annotation is a `Parameters` model takes all the fields of that model; an argument
    annotated as float, int, bool or str is a parameter by itself; others keep their defaults.

    Attributes:
        name: As in `physics_twins.pulsar.evaluate:recovery`.
        function: The function.
        models: By argument, the model that its value is taken from.
        plain: A model of the plain arguments.
        sha256: Hash of what is called; the library's own code enters a cell's key by itself.
    """

    name: str
    function: Callable[..., Any]
    models: dict[str, type[Parameters]]
    plain: type[Parameters]
    sha256: str

    @property
    def twins(self) -> tuple[str, ...] | None:
        """Whose code it depends on, see `runs.source_sha256`."""
        return runs.named_twins(self.name) if self.name.startswith("physics_twins.") else None

    @property
    def title(self) -> str:
        """First line of the function's documentation."""
        return (inspect.getdoc(self.function) or self.name).splitlines()[0]

    @property
    def fields(self) -> dict[str, FieldDescription]:
        """What is known of every parameter, by name."""
        models = (*self.models.values(), self.plain)
        return {name: info for model in models for name, info in model.describe().items()}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, `values` before the defaults, with input files as absolute paths.

        Raises:
            ParameterError: A name is unknown, missing or a value is wrong.
        """
        complete = check([*self.models.values(), self.plain], values)
        return runs.with_files(self.fields, complete)

    def compute(self, values: Mapping[str, Any], cells: Path) -> Any:
        """Return what the function gives for checked `values`."""
        models = {name: model.take(values) for name, model in self.models.items()}
        return self.function(**models, **{name: values[name] for name in self.plain.model_fields})


@dataclass(frozen=True)
class NotebookTask:
    """A notebook; each cell of a sweep is a run of its own.

    Attributes:
        notebook: The notebook.
    """

    notebook: runs.Notebook

    @property
    def name(self) -> str:
        """As in `pulsar/4_infer`, or the path of a notebook that is nowhere else."""
        known = runs.available().get(self.notebook.name)
        return self.notebook.name if known == self.notebook.path else str(self.notebook.path)

    @property
    def twins(self) -> tuple[str, ...] | None:
        """Whose code it depends on, see `runs.source_sha256`."""
        return self.notebook.twins

    @property
    def title(self) -> str:
        """The notebook's title."""
        return self.notebook.title

    @property
    def sha256(self) -> str:
        """Hash of the notebook's source."""
        return self.notebook.sha256

    @property
    def fields(self) -> dict[str, FieldDescription]:
        """What is known of every parameter, by name."""
        return self.notebook.fields

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters; a cell's own heavy work stays in its kernel unless told otherwise.

        Raises:
            ParameterError: A name is unknown, or a value is wrong.
        """
        return self.notebook.check({"on": "threads", **values})

    def compute(self, values: Mapping[str, Any], cells: Path) -> Any:
        """Return the finished run.

        Raises:
            TaskError: The notebook failed; the message names the cell and the run.
        """
        given = {name: value for name, value in values.items() if name != "run_dir"}
        run = runs.run(self.notebook.path, given, root=cells)
        if run.status != "complete":
            record = run.provenance
            raise TaskError(f"cell {record['cell']}: {record['error']} (see {run.folder.name})")
        return run


Task = FunctionTask | NotebookTask


def find_task(what: str | Callable[..., Any]) -> Task:
    """Return the task that a name or a function stands for.

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
    if not colon:
        return NotebookTask(runs.notebook(what))
    return _of_function(_named(module, function))


def key(task: Task, values: Mapping[str, Any]) -> str:
    """Return the SHA-256 that stands for one result: code, parameters and content of input files.

    Args:
        task: What is computed.
        values: Every parameter, checked.
    """
    inputs = runs.describe_inputs(task.fields, values)
    return runs.identity(task.sha256, values, inputs, twins=task.twins)


def plain_result(task: Task, result: Any) -> dict[str, Any]:
    """Return the numbers of a result that is a run, a mapping of metrics, or one number.

    Raises:
        TaskError: It is nothing of these.
    """
    if isinstance(task, NotebookTask):
        return {"run": result.folder.name, "metrics": result.metrics}
    try:
        return {"metrics": plain_metrics(result if isinstance(result, Mapping) else {"result": result})}
    except ValueError as error:
        wanted = "a number, a mapping of metrics or an xarray.Dataset"
        raise TaskError(f"{task.name} must return {wanted}: {error}") from None


def _named(module: str, function: str) -> Callable[..., Any]:
    names = [module] if module.startswith("physics_twins.") else [module, f"physics_twins.{module}"]
    for name in names:
        try:
            imported = importlib.import_module(name) if name.strip(".") == name != "" else None
        except Exception as error:  # importing runs somebody's code
            if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                continue
            raise TaskError(f"{name} cannot be imported: {error}") from None
        if imported is None:
            break
        found = getattr(imported, function, None)
        if callable(found) and not isinstance(found, type):
            return found
        raise TaskError(f"module {name} has no function {function!r}")
    where = "where Python looks (PYTHONPATH adds folders)"
    raise TaskError(
        f"there is no module {module} {where}; write module:function, or the name of a notebook"
    )


class _Arguments(Parameters):
    """Base of a function's plain arguments, which have no range but must be numbers."""

    model_config = ConfigDict(allow_inf_nan=False)


def _of_function(function: Callable[..., Any]) -> FunctionTask:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    here = sys.modules.get(str(module))
    if not name or module == "__main__" or getattr(here, name, None) is not function:
        raise TaskError(
            f"workers cannot import {module}:{name or repr(function)}:"
            " define it at the top of a module file"
        )
    address = f"{module}:{name}"
    models, plain = _arguments(function, address)
    arguments = _model(plain, address)
    fields = [field for model in (*models.values(), arguments) for field in model.model_fields]
    if twice := sorted({field for field in fields if fields.count(field) > 1}):
        raise TaskError(f"two arguments of {address} take {', '.join(twice)}: rename one")
    content = {"function": address, "module": _module_sha256(str(module))}
    return FunctionTask(
        name=address,
        function=function,
        models=models,
        plain=arguments,
        sha256=runs.json_sha256(content),
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
        hint = hints.get(argument.name)
        required = argument.default is argument.empty
        by_name = argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
        if by_name and isinstance(hint, type) and issubclass(hint, Parameters):
            models[argument.name] = hint
        elif by_name and hint in _PLAIN:
            default = ... if required else argument.default
            plain[argument.name] = (hint, field(default, help=f"Argument of {function.__name__}"))
        elif required and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            kinds = "a Parameters model, float, int, bool or str"
            raise TaskError(
                f"argument {argument.name} of {address} must be given by name and annotated as {kinds}"
            )
    return models, plain


def _model(plain: dict[str, Any], address: str) -> type[Parameters]:
    if wrong := [name for name in plain if name.startswith("_") or hasattr(_Arguments, name)]:
        raise TaskError(f"argument {wrong[0]} of {address} has a name that a parameter cannot have")
    return create_model("Arguments", __base__=_Arguments, **plain)


def _module_sha256(module: str) -> str:
    """Return the hash of a module's file; the library's own files enter a key together."""
    file = getattr(sys.modules[module], "__file__", None)
    if module.startswith("physics_twins.") or not file:
        return ""
    return file_sha256(Path(file))
