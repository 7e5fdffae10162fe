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
# What twins share, in the order in which one may call the other.
DOORS = ("parameters", "data", "clusters", "twin", "figures", "runs", "sweeps", "training", "models")
_NAME = re.compile(
    r'<code class="docutils literal notranslate"><span class="pre">([\w.]+)</span></code>'
)


def write(folder: Path) -> None:
    """Write the reference pages as Markdown into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"commands": commands(), "parameters": parameters(), "library": doors()}
    pages |= {f"library_{name}": library(name) for name in (*DOORS, *TWINS)}
    for name, text in pages.items():
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


def doors() -> str:
    """Return the page that leads to those of the packages and twins."""
    found = {name: importlib.import_module(f"physics_twins.{name}") for name in (*DOORS, *TWINS)}
    rows = [f"| [{name}](library_{name}.md) | {_first_line(door)} |" for name, door in found.items()]
    head = "| door | what is behind it |\n|---|---|"
    about = "Doors are packages below the twins, which share them, and the twins themselves."
    return "\n".join(["# The library", "", about, "", head, *rows]) + "\n"


def library(door: str) -> str:
    """Return the page with every public function and class of a door or twin."""
    sections = [_module_section(module) for module in _modules() if _door(module) == door]
    kind = "twin" if door in TWINS else "door"
    return f"# The library: the {kind} `{door}`\n\n" + "\n\n".join(sections) + "\n"


def link_names(html: Path) -> int:
    """Make links of the names of functions in the built pages `html` of twins; return how many.

    A name stands below the twin of its page, or is whole.
    """
    n_links = 0
    for page in html.glob("*.html"):
        twin = page.stem.partition("_")[0]

        def linked(found: re.Match[str], twin: str = twin) -> str:
            address = _address(twin, found[1])
            return f'<a href="reference/{address}">{found[0]}</a>' if address else found[0]

        if twin in TWINS:
            before = page.read_text(encoding="utf-8")
            after = _NAME.sub(linked, before)
            page.write_text(after, encoding="utf-8")
            n_links += after.count("<a ") - before.count("<a ")
    return n_links


def _address(twin: str, name: str) -> str:
    """Return the page and anchor of what a dotted name stands for; "" for what has none."""
    whole = name if name.startswith("physics_twins.") else f"physics_twins.{twin}.{name}"
    try:
        item = pkgutil.resolve_name(whole)
    except (ImportError, AttributeError, ValueError):
        return ""
    if not ("." in name and (inspect.isfunction(item) or inspect.isclass(item))):
        return ""
    module, outer = item.__module__, item.__qualname__.partition(".")[0]
    door = module.removeprefix("physics_twins.").split(".")[0]
    is_listed = door in (*DOORS, *TWINS) and not outer.startswith("_")
    return f"library_{door}.html#{module}.{outer}" if is_listed else ""


def _helps(command: Any, parent: Any = None, name: str = "twins") -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield context.command_path, command.get_help(context)
    for sub, each in getattr(command, "commands", {}).items():
        yield from _helps(each, context, sub)


def _modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(physics_twins.__path__, "physics_twins.")
    return [importlib.import_module(info.name) for info in sorted(found, key=lambda info: info.name)]


def _door(module: ModuleType) -> str:
    """Return the name of the package or twin that a module belongs to."""
    return module.__name__.removeprefix("physics_twins.").split(".")[0]


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
        parts.append(f'<div id="{module.__name__}.{name}"></div>\n\n### {name}')
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
