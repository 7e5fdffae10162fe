"""The book's reference pages, written from the code itself: commands, parameters, library."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import physics_twins
from physics_twins.parameters import Parameters

TWINS = ("pulsar", "calorimeter", "virgo", "lattice")


def write(folder: Path) -> None:
    """Write the reference pages as Markdown into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "commands": commands(),
        "parameters": parameters(),
        "library": library(),
        "library_pulsar": library("pulsar"),
        "library_calorimeter": library("calorimeter"),
        "library_virgo": library("virgo"),
        "library_lattice": library("lattice"),
    }.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def commands() -> str:
    """Return the page with the help of every command."""
    import typer

    from physics_twins.cli.__main__ import app

    sections = [
        f"## {name}\n\n```text\n{text}\n```" for name, text in _helps(typer.main.get_command(app))
    ]
    return "# The command `twins`\n\n" + "\n\n".join(sections) + "\n"


def parameters() -> str:
    """Return the page with every parameter of every model."""
    models = {item for module in _modules() for _, item in _public(module) if _is_model(item)}
    sections = [_model_section(model) for model in sorted(models, key=_full_name)]
    about = "Written once, in the code; sliders, checks and help all come from there."
    return f"# Parameters\n\n{about}\n\n" + "\n\n".join(sections) + "\n"


def library(twin: str = "") -> str:
    """Return the page with every public function and class of a twin, or of what all twins share."""
    sections = [_module_section(module) for module in _modules() if _twin(module) == twin]
    title = f"The library of the {twin}" if twin else "The library that twins share"
    return f"# {title}\n\n" + "\n\n".join(sections) + "\n"


def _helps(command: Any, parent: Any = None, name: str = "twins") -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield context.command_path, command.get_help(context)
    for sub, each in getattr(command, "commands", {}).items():
        yield from _helps(each, context, sub)


def _modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(physics_twins.__path__, "physics_twins.")
    return [importlib.import_module(info.name) for info in sorted(found, key=lambda info: info.name)]


def _twin(module: ModuleType) -> str | None:
    """Return the twin that a module belongs to, "" for a shared one, None for the command."""
    name = module.__name__.removeprefix("physics_twins.").split(".")[0]
    return None if name.startswith("cli") else name if name in TWINS else ""


def _public(module: ModuleType) -> list[tuple[str, Any]]:
    """Functions and classes that a module defines for others, in the order in which they stand."""
    items = [
        (name, item)
        for name, item in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(item) or inspect.isclass(item))
        and item.__module__ == module.__name__
    ]
    return sorted(items, key=lambda pair: _line(pair[1]))


def _line(item: Any) -> int:
    try:
        return inspect.getsourcelines(inspect.unwrap(item))[1]
    except (OSError, TypeError):
        return 0


def _is_model(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, Parameters) and bool(item.model_fields)


def _full_name(item: Any) -> str:
    return f"{item.__module__}.{item.__qualname__}"


def _model_section(model: type[Parameters]) -> str:
    rows = [
        f"| `{name}` | `{info.default!r}` | {info.allowed} | {info.help} |".replace("\n", " ")
        for name, info in model.describe().items()
    ]
    head = "| name | default | allowed | what it is |\n|---|---|---|---|"
    title = f"## {model.__name__}\n\n`{_full_name(model)}`: {_first_line(model)}"
    return "\n".join([title, "", head, *rows])


def _module_section(module: ModuleType) -> str:
    parts = [f"## {module.__name__}", _first_line(module)]
    for name, item in _public(module):
        parts.append(f"### {name}")
        parts.append(f"```python\n{name}{_signature(item)}\n```")
        parts.append(f"```text\n{inspect.getdoc(item) or ''}\n```")
    return "\n\n".join(parts)


def _signature(item: Any) -> str:
    try:
        # A class as a default or a string's annotation is written in a way that is no Python.
        return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(inspect.signature(item)))
    except (TypeError, ValueError):
        return "(...)"


def _first_line(item: Any) -> str:
    return (inspect.getdoc(item) or "").partition("\n")[0]
