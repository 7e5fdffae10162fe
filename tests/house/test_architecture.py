"""Who may import whom, as far as the floors in `pyproject.toml` do not say it."""

import ast
import json

import pytest
from sources import LIBRARY, ROOT, TWINS, Sources, cycles, imported_names


def through_walls(sources: Sources) -> list[str]:
    """Every import from inside a shared package that its face does not hand on."""
    wrong = []
    for module, tree in sources.trees.items():
        names = {name for node in ast.walk(tree) for name in imported_names(node)}
        for name in names:
            top, package, *rest = [*name.split("."), "", ""]
            inside = f"{top}.{package}.{rest[0]}"
            if top != LIBRARY or package in TWINS or inside not in sources.trees:
                continue
            handed_on = sources.faces.get(f"{top}.{package}", {})
            is_own = module.startswith(f"{top}.{package}.") or module == f"{top}.{package}"
            if not is_own and rest[0] not in handed_on:
                wrong.append(f"{module} -> {name}")
    return sorted(wrong)


def heavy_simulations(sources: Sources) -> list[str]:
    """Modules named `simulate` that import torch before any function of theirs is called."""
    simulations = [name for name in sources.trees if name.endswith(".simulate")]
    return [
        s for s in simulations if "torch" in {n.split(".")[0] for n in sources.reached_at_import(s)}
    ]


@pytest.fixture(scope="module")
def project() -> Sources:
    return Sources.of_project()


def test_other_packages_are_entered_by_their_face(project):
    assert through_walls(project) == []


def test_no_import_goes_round_in_a_circle(project):
    assert cycles(project) == []


def test_simulations_start_without_torch(project):
    assert heavy_simulations(project) == []


def test_nothing_in_the_library_imports_tests_benchmarks_or_bootstrap(project):
    tops = {name.split(".")[0] for module in project.trees for name in project.imports(module)}
    assert tops & {"tests", "benchmarks", "bootstrap"} == set()


def test_notebooks_import_the_project_by_its_two_packages_only():
    forbidden = {"tests", "benchmarks", "bootstrap", "notebooks"}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        tops = {
            name.split(".")[0] for node in ast.walk(ast.parse(code)) for name in imported_names(node)
        }
        assert tops & forbidden == set(), path


# Each check is shown to fail on a small wrong project.


def test_an_import_through_a_wall_is_found_even_inside_a_function():
    sources = {
        "physics_twins.runs": "",
        "physics_twins.runs.folder": "",
        "physics_twins.runs.notebooks": "from physics_twins.runs.folder import Run",
        "physics_twins.sweeps.farm": "def f():\n    from physics_twins.runs.folder import Run",
        "physics_twins.pulsar.infer": "from physics_twins.runs.notebooks import read",
        "twin_panels.run": "from physics_twins.runs import folder",
    }
    faces = {"physics_twins.runs": "from . import notebooks as notebooks"}
    assert through_walls(Sources(sources, faces)) == [
        "physics_twins.sweeps.farm -> physics_twins.runs.folder.Run",
        "twin_panels.run -> physics_twins.runs.folder",
    ]


def test_a_circle_is_found_even_inside_a_function():
    circle = {
        "physics_twins.a": "from physics_twins.b import x",
        "physics_twins.b": "def f(): import physics_twins.a",
    }
    assert cycles(Sources(circle)) == ["physics_twins.a", "physics_twins.b"]


@pytest.mark.parametrize(
    "helper", ["import torch", "if True:\n    from torch import nn", "import torch.fft as fft"]
)
def test_torch_behind_another_module_is_found(helper):
    sources = {
        "physics_twins.a.simulate": "from physics_twins.noise import x",
        "physics_twins.noise": helper,
    }
    assert heavy_simulations(Sources(sources)) == ["physics_twins.a.simulate"]


def test_torch_in_a_parent_package_is_found():
    sources = {
        "physics_twins.a.simulate": "import physics_twins.b.c",
        "physics_twins.b": "import torch",
        "physics_twins.b.c": "",
    }
    assert heavy_simulations(Sources(sources)) == ["physics_twins.a.simulate"]


@pytest.mark.parametrize(
    "helper", ["def f():\n    import torch", "if TYPE_CHECKING:\n    import torch"]
)
def test_torch_inside_a_function_is_allowed(helper):
    sources = {
        "physics_twins.a.simulate": "from physics_twins.noise import x",
        "physics_twins.noise": helper,
    }
    assert heavy_simulations(Sources(sources)) == []
