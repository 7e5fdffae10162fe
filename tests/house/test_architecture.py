"""Who may import whom: notebooks -> widgets -> twins -> shared modules -> parameters."""

import ast
import json

import pytest
from sources import LIBRARY, PANELS, ROOT, TWINS, Sources, cycles, imported_names

FLOORS = (
    ("parameters",),
    ("data",),
    ("clusters", "twin"),
    ("figures", "runs"),
    ("sweeps", "training", "models"),
    TWINS,
    ("cli",),
)


def _twin(module: str) -> str | None:
    """The twin that a module belongs to; None for a shared module."""
    top, *rest = module.split(".")
    return rest[0] if top == LIBRARY and rest and rest[0] in TWINS else None


def wrong_imports(sources: Sources) -> list[str]:
    """Every import against the direction, as `importer -> imported`."""
    wrong = []
    for module in sources.trees:
        own_twin = _twin(module)
        for imported in sources.imports(module):
            top, other_twin = imported.split(".")[0], _twin(imported)
            in_library = module.split(".")[0] == LIBRARY
            upwards = in_library and top in (PANELS, "ipywidgets", "ipympl", "anywidget")
            sideways = in_library and other_twin not in (None, own_twin)
            below_parameters = module == f"{LIBRARY}.parameters" and top in (LIBRARY, PANELS)
            if upwards or sideways or below_parameters:
                wrong.append(f"{module} -> {imported}")
    return sorted(wrong)


def _package(module: str) -> str:
    return module.partition(".")[2].partition(".")[0] if module.startswith(f"{LIBRARY}.") else ""


def climbing(sources: Sources) -> list[str]:
    """Every import of a package that is on no lower floor, as `importer -> imported`."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    pairs = [(m, i) for m in sources.trees for i in sources.imports(m) if _package(m) and _package(i)]
    apart = [(m, i) for m, i in pairs if _package(m) != _package(i)]
    return sorted(f"{m} -> {i}" for m, i in apart if floor[_package(i)] >= floor[_package(m)])


def heavy_simulations(sources: Sources) -> list[str]:
    """Modules named `simulate` that import torch before any function of theirs is called."""
    simulations = [name for name in sources.trees if name.endswith(".simulate")]
    return [
        s for s in simulations if "torch" in {n.split(".")[0] for n in sources.reached_at_import(s)}
    ]


@pytest.fixture(scope="module")
def project() -> Sources:
    return Sources.of_project()


def test_every_import_follows_the_direction(project):
    assert wrong_imports(project) == []


def test_packages_import_those_of_lower_floors_only(project):
    assert climbing(project) == []


def test_an_import_of_a_higher_floor_or_of_the_same_is_found():
    sources = {
        "physics_twins.runs.places": "def late():\n    from physics_twins.sweeps import folders",
        "physics_twins.twin.state": "from physics_twins.clusters import connect",
        "physics_twins.sweeps.folders": "from physics_twins.runs import places",
    }
    assert climbing(Sources(sources)) == [
        "physics_twins.runs.places -> physics_twins.sweeps.folders",
        "physics_twins.twin.state -> physics_twins.clusters.connect",
    ]


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


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("physics_twins.metrics", "import ipywidgets"),
        ("physics_twins.metrics", "from twin_panels import sliders"),
        ("physics_twins.metrics", "from physics_twins.pulsar import simulate"),
        ("physics_twins.metrics", "def late():\n    import physics_twins.pulsar.simulate"),
        ("physics_twins.virgo.simulate", "from physics_twins.pulsar.simulate import noise"),
        ("physics_twins.parameters", "from physics_twins import metrics"),
    ],
)
def test_an_import_against_the_direction_is_found(module, text):
    sources = {"physics_twins.pulsar.simulate": "", "physics_twins.metrics": ""} | {module: text}
    assert wrong_imports(Sources(sources)) != []


def test_an_import_along_the_direction_is_accepted():
    sources = {
        "physics_twins": "",
        "physics_twins.parameters": "import pydantic",
        "physics_twins.pulsar": "",
        "physics_twins.pulsar.physics.ism": "from physics_twins.parameters import field",
        "physics_twins.pulsar.simulate": "from physics_twins.pulsar import ism",
        "twin_panels.pulsar": "import ipywidgets\nfrom physics_twins.pulsar.simulate import simulate",
    }
    assert wrong_imports(Sources(sources)) == []


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
