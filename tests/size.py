"""How large the shared layer is: `make size`, and in every run of `.ci/run`.

Code lines have neither docstrings nor comments nor blank ones. Floors are files on the longest way of
imports below the twins. Public names are those that the faces of the shared packages give, and where a
package has no face yet, the public ones of all its modules.
"""

import ast
import io
import tokenize
from functools import cache

from sources import LIBRARY, ROOT, TWINS, Sources, cycles

_FOLDER = ROOT / "lib" / LIBRARY
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(text: str) -> int:
    """Return how many lines of a module are code.

    >>> code_lines('"Docstring."' + chr(10) + "x = 1  # one" + chr(10) * 2 + "# why" + chr(10))
    1
    """
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    used = [range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in _NO_CODE]
    lines = {line for span in used for line in span}
    return len(lines - {line for span in _docstrings(ast.parse(text)) for line in span})


def floors(sources: Sources, modules: set[str]) -> int:
    """Return the number of modules on the longest way of imports among some that have no circle."""

    @cache
    def height(module: str) -> int:
        below = sources.imports(module, for_types=False) & modules - {module}
        return 1 + max(map(height, below), default=0)

    return max(map(height, modules))


def public_names(package: dict[str, ast.Module], face: str) -> set[str]:
    """Return what a package gives to others: its face's names, or all where the face holds code."""
    body = package[face].body
    if listed := [
        n for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    ]:
        return set(ast.literal_eval(listed[0].value))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign)
    if not any(isinstance(node, kinds) for node in body) and len(body) > 1:
        return {a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names}
    return {f"{module}.{name}" for module, tree in package.items() for name in _defined(tree)}


def main() -> None:
    """Print the four lines."""
    sources = Sources.of_project()
    shared = {m for m in sources.trees if _package(m) is not None and _package(m) not in TWINS}
    texts = [
        p.read_text() for p in _FOLDER.rglob("*.py") if p.relative_to(_FOLDER).parts[0] not in TWINS
    ]
    packages = {_package(module) for module in shared} - {"", "cli"}
    found = [
        {m: sources.trees[m] for m in shared if _package(m) == package} for package in sorted(packages)
    ]
    names = sum(len(public_names(trees, min(trees))) for trees in found)
    entries = [p for p in _FOLDER.iterdir() if p.name != "__pycache__"]
    circles = len(cycles(sources))
    print(f"code lines below the twins, cli included: {sum(map(code_lines, texts))}")
    print(f"entries of lib/{LIBRARY}: {len(entries)}")
    print(f"floors of files from parameters to cli; in circles: {floors(sources, shared)}; {circles}")
    print(f"public names of the shared layer: {names}")


def _package(module: str) -> str | None:
    """Return the package of a module of the library, "" for the library itself, None for others."""
    top, *rest = module.split(".")
    return (rest[0] if rest else "") if top == LIBRARY else None


def _defined(tree: ast.Module) -> set[str]:
    names = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def _docstrings(tree: ast.Module) -> list[range]:
    holders = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        n.body[0] for n in ast.walk(tree) if isinstance(n, holders) and ast.get_docstring(n) is not None
    ]
    return [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in found]


if __name__ == "__main__":
    main()
