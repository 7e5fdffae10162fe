"""The project's modules as texts, and who imports whom; needs nothing but Python."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
LIBRARY, PANELS = "physics_twins", "twin_panels"
TWINS = ("pulsar", "virgo", "calorimeter", "lattice")


class Sources:
    """The project's modules as texts by dotted name, and what each of them imports."""

    def __init__(self, texts: dict[str, str], stubs: dict[str, str] | None = None):
        self.trees = {name: ast.parse(text) for name, text in texts.items()}
        # What a package's face hands on: the dotted name that each of its names stands for.
        self.faces = {name: dict(_handed_on(name, text)) for name, text in (stubs or {}).items()}

    @classmethod
    def of_project(cls) -> "Sources":
        folders = (ROOT / "lib" / LIBRARY, ROOT / "widgets" / PANELS)
        texts, stubs = (
            {_name(path): path.read_text() for top in folders for path in top.rglob(pattern)}
            for pattern in ("*.py", "__init__.pyi")
        )
        return cls(texts, stubs)

    def imports(self, module: str, *, for_types: bool = True, in_functions: bool = True) -> set[str]:
        """Modules that `module` imports; of those outside the project, the dotted name as written.

        Without `for_types`, not what stands under `if TYPE_CHECKING`; without `in_functions`, not what
        stands inside functions.
        """
        nodes = list(_nodes(self.trees[module], for_types=for_types, in_functions=in_functions))
        names = {name for node in nodes for name in imported_names(node)}
        return {self._resolve(name) for name in names | self._taken_from_faces(names, nodes)}

    def _taken_from_faces(self, names: set[str], nodes: list[ast.AST]) -> set[str]:
        """What is used of packages that are imported whole: `runs.open_run` after `import runs`."""
        faces = {name.rpartition(".")[2]: name for name in names if name in self.faces}
        return {
            f"{faces[node.value.id]}.{node.attr}"
            for node in nodes
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in faces
        }

    def reached_at_import(self, module: str) -> set[str]:
        """Everything that importing `module` imports in turn, through this project's modules."""
        reached: set[str] = set()
        todo = [module, *_parents(module)]
        while todo:
            name = todo.pop()
            if name in self.trees:
                new = self.imports(name, for_types=False, in_functions=False) - reached
                reached |= new
                todo += [each for found in new for each in (found, *_parents(found))]
        return reached

    def _resolve(self, name: str) -> str:
        """The module of a dotted name whose last part may be a module or something inside one."""
        parent, _, last = name.rpartition(".")
        if (handed_on := self.faces.get(parent, {}).get(last, name)) != name:
            return self._resolve(handed_on)
        return parent if parent in self.trees and name not in self.trees else name


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _handed_on(package: str, stub: str) -> Iterator[tuple[str, str]]:
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                where = f"{package}.{node.module}" if node.module else package
                yield alias.asname or alias.name, f"{where}.{alias.name}"


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def imported_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "import by full names: relative ones are not followed here"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST, *, for_types: bool, in_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if (in_functions or not is_function) and (for_types or not is_for_types):
            yield node
            yield from _nodes(node, for_types=for_types, in_functions=in_functions)


def cycles(sources: Sources) -> list[str]:
    """Modules that import themselves through others, imports inside functions included."""
    known = set(sources.trees)
    graph = {name: sources.imports(name, for_types=False) & known - {name} for name in known}
    while leaves := [name for name, needs in graph.items() if not needs & set(graph)]:
        for name in leaves:
            del graph[name]
    return sorted(graph)
