"""Every notebook has one shape: title, parameters, thin code, declared models, nothing stored."""

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from sources import ROOT

from physics_twins.parameters import Execution, ParameterError, Parameters, check, field

NOTEBOOKS = ROOT / "notebooks"
LINES_A_CELL, LINES_IN_ALL, IMPORTS_IN_ALL = 12, 60, 6


def broken_rules(notebook: dict[str, Any]) -> list[str]:
    """What is wrong with the shape of a notebook, in words; empty where nothing is."""
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    lengths = [len(_code_lines(_text(cell))) for cell in code]
    tagged = [i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", [])]
    found = {
        "cell 1 is no markdown title": not cells
        or cells[0]["cell_type"] != "markdown"
        or not _text(cells[0]).startswith("# "),
        "not cell 2, and only it, is tagged parameters": tagged != [1],
        "a function or class is defined": any(_defines(_text(cell)) for cell in code),
        f"a cell has more than {LINES_A_CELL} lines": max(lengths, default=0) > LINES_A_CELL,
        f"there are more than {LINES_IN_ALL} lines": sum(lengths) > LINES_IN_ALL,
        f"there are more than {IMPORTS_IN_ALL} lines of imports": len(_imports(code)) > IMPORTS_IN_ALL,
        "an import goes past a face": any(map(_is_behind_a_face, _imports(code))),
        "outputs are stored": any(c.get("outputs") or c.get("execution_count") for c in code),
    }
    return [rule for rule, is_broken in found.items() if is_broken] + _broken_parameters(notebook)


def _imports(code: list[dict[str, Any]]) -> list[ast.Import | ast.ImportFrom]:
    nodes = (node for cell in code for node in ast.walk(ast.parse(_text(cell))))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _is_behind_a_face(node: ast.Import | ast.ImportFrom) -> bool:
    """Return whether an import is of a module inside a package of the library."""
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
    return any(name.startswith("physics_twins.") for name in names)


def _broken_parameters(notebook: dict[str, Any]) -> list[str]:
    names = notebook["metadata"].get("physics_twins", {}).get("parameters")
    if not names or not all(isinstance(name, str) for name in names):
        return ["metadata physics_twins.parameters names no models"]
    try:
        models = [_model(name) for name in names]
        values = _plain_values(_text(notebook["cells"][1]))
        check(models, values)
    except (ParameterError, ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        return [f"parameters: {error}"]
    # Other fields keep their models' defaults, so that the cell shows what matters.
    missing = sorted({"seed", "run_dir"} - set(values))
    return [f"parameters: the cell does not set {', '.join(missing)}"] if missing else []


def _model(name: str) -> type[Parameters]:
    module, _, model = name.partition(":")
    return getattr(importlib.import_module(module), model)


def _plain_values(source: str) -> dict[str, Any]:
    """Names and literal values of a parameters cell."""
    values = {}
    for statement in ast.parse(source).body:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        if not isinstance(target, ast.Name):
            raise TypeError(f"line {statement.lineno} of the cell is no plain assignment")
        values[target.id] = ast.literal_eval(statement.value)  # pyright: ignore
    return values


def _text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def _defines(source: str) -> bool:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))


def _notebooks() -> list[Path]:
    return [p for p in sorted(NOTEBOOKS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]


@pytest.mark.parametrize("path", _notebooks(), ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def test_notebook_follows_the_rules(path):
    assert broken_rules(json.loads(path.read_text())) == []


# Each rule is shown to catch a notebook that breaks it.


class Pulse(Parameters):
    """What the example notebook below declares."""

    dm_pc_cm3: float = field(56.8, ge=0, le=3000, unit="pc cm-3", help="Dispersion measure")


def example(**changes: Any) -> dict[str, Any]:
    """A notebook that breaks no rule; `title`, `values`, `code` and `names` change it."""
    names = changes.get("names", [f"{__name__}:Pulse", "physics_twins.parameters:Execution"])
    execution = "\n".join(f"{name} = {value!r}" for name, value in Execution().to_papermill().items())
    values = changes.get("values", f"dm_pc_cm3 = 56.8\n{execution}")
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return {
        "metadata": {"physics_twins": {"parameters": names}},
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": [changes.get("title", "# A pulse")]},
            blank | {"metadata": {"tags": changes.get("tags", ["parameters"])}, "source": [values]},
            *(
                blank | {"source": [code]} | changes.get("stored", {})
                for code in changes.get("code", ["1 + 1"])
            ),
        ],
    }


def test_a_good_notebook_breaks_no_rule():
    assert broken_rules(example()) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"title": "A pulse"}, "cell 1 is no markdown title"),
        ({"tags": []}, "not cell 2, and only it, is tagged parameters"),
        ({"code": ["def f():\n    return 1"]}, "a function or class is defined"),
        ({"code": ["if True:\n    class A: ..."]}, "a function or class is defined"),
        ({"code": ["x = 1\n" * 13]}, "a cell has more than 12 lines"),
        ({"code": ["x = 1\n" * 12] * 5}, "there are more than 60 lines"),
        ({"code": ["import os\n" * 7]}, "there are more than 6 lines of imports"),
        ({"code": ["from physics_twins.pulsar.infer import infer"]}, "an import goes past a face"),
        ({"code": ["import physics_twins.pulsar"]}, "an import goes past a face"),
        ({"stored": {"outputs": [{"output_type": "stream"}]}}, "outputs are stored"),
        ({"stored": {"execution_count": 1}}, "outputs are stored"),
        ({"names": []}, "metadata physics_twins.parameters names no models"),
        ({"names": ["physics_twins.parameters:Nothing"]}, "has no attribute 'Nothing'"),
        ({"values": "dm_pc_cm3 = 10 * 5.0"}, "malformed node"),
        ({"values": "print(1)"}, "is no plain assignment"),
        ({"values": "dm_pc_cm3 = -1.0"}, "is outside its range"),
        ({"values": "dm = 1.0"}, "unknown parameter"),
        ({"values": "dm_pc_cm3 = 1.0"}, "the cell does not set run_dir, seed"),
    ],
)
def test_a_broken_rule_is_named(changes, rule):
    assert any(rule in found for found in broken_rules(example(**changes)))
