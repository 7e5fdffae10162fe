"""How large the shared layer is: code lines, entries, floors and public names."""

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sources import LIBRARY, ROOT, TWINS, Sources, cycles

FOLDER = ROOT / "lib" / LIBRARY
_BLANK = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code_lines(source: str) -> int:
    """Return how many lines of a module hold code: no docstring, comment or blank."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _BLANK:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def entries(folder: Path) -> list[str]:
    """Return the modules and packages side by side in a folder."""
    found = [p.name for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    return sorted({*found} - {"__init__.py"})


def n_floors(sources: Sources) -> int:
    """Return how many shared files lie on each other on the longest way down; there is no circle."""
    shared = {name for name in sources.trees if _is_shared(name)}

    @cache
    def height(module: str) -> int:
        below = sources.imports(module, for_types=False) & shared - {module, LIBRARY}
        return 1 + max(map(height, below), default=0)

    return max(map(height, shared))


def public_names(sources: Sources) -> dict[str, set[str]]:
    """Return what each shared package offers: the names of its face, or of all its modules.

    Of a module that a face hands on whole, all names count.
    """
    offered: dict[str, set[str]] = {}
    for module in filter(_is_shared, sources.trees):
        package = module.split(".")[1] if "." in module else ""
        path = f"{LIBRARY}.{package}" if package else module
        if handed_on := sources.faces.get(path):
            for name, what in handed_on.items():
                inside = sources.trees.get(what)
                whole = {f"{name}.{each}" for each in _defined(inside)} if inside else {name}
                offered.setdefault(package, set()).update(whole)
        elif _is_face(sources.trees[path]):
            offered[package] = set(_re_exported(sources.trees[path]))
        else:
            offered.setdefault(package, set()).update(_defined(sources.trees[module]))
    return offered


def _is_shared(module: str) -> bool:
    top, *rest = module.split(".")
    return top == LIBRARY and (not rest or rest[0] not in TWINS)


def _is_face(tree: ast.Module) -> bool:
    """Return whether a module only hands on: imports, and no function but `__getattr__`."""
    made = [
        n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    return bool(list(_re_exported(tree))) and all(
        getattr(node, "name", "") == "__getattr__" for node in made
    )


def _re_exported(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(LIBRARY):
            yield from (alias.asname or alias.name for alias in node.names)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ast.literal_eval(node.value)


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def report() -> str:
    """Return the shared layer's size in a few lines."""
    sources = Sources.of_project()
    lines = {path: code_lines(path.read_text()) for path in FOLDER.rglob("*.py")}
    by_entry: dict[str, int] = {}
    for path, n in lines.items():
        entry = path.relative_to(FOLDER).parts[0]
        by_entry[entry] = by_entry.get(entry, 0) + n
    shared = {entry: n for entry, n in by_entry.items() if entry not in TWINS}
    names = public_names(sources)
    circles = cycles(sources)
    details = ", ".join(f"{name.removesuffix('.py')} {n:,}" for name, n in sorted(shared.items()))
    twins = ", ".join(f"{name} {n:,}" for name, n in sorted(by_entry.items()) if name in TWINS)
    offered = ", ".join(f"{name} {len(found)}" for name, found in sorted(names.items()) if found)
    return "\n".join(
        (
            f"code lines below the twins, with cli  {sum(shared.values()):,}  ({details})",
            f"code lines of the twins               {twins}",
            f"entries of lib/{LIBRARY}         {len(entries(FOLDER))}",
            f"floors of files; modules in circles   "
            f"{'endless' if circles else n_floors(sources)}; {len(circles)}",
            f"public names of the shared layer      {sum(map(len, names.values()))}  ({offered})",
        )
    )


if __name__ == "__main__":
    print(report())
