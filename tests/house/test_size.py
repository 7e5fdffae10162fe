"""What `make size` counts."""

import size
from sources import Sources


def test_docstrings_comments_and_blanks_are_no_code():
    source = '"""About."""\n\n# why\nX = (\n    1,\n)\n\n\ndef f():\n    """Do."""\n    return X\n'
    assert size.code_lines(source) == 5


def test_a_string_that_is_no_docstring_is_code():
    assert size.code_lines('x = 1\n"""text\nmore"""\n') == 3


def test_floors_are_the_files_on_the_longest_way_down():
    sources = {
        "physics_twins.cli": "from physics_twins.runs import places, begin",
        "physics_twins.runs.places": "from physics_twins import parameters",
        "physics_twins.runs": "def begin():\n    from physics_twins.runs import places",
        "physics_twins.parameters": "import pydantic",
        "physics_twins.pulsar": "from physics_twins import cli",
    }
    assert size.n_floors(Sources(sources)) == 4


def test_what_is_used_of_a_package_that_is_imported_whole_is_a_floor_too():
    sources = {
        "physics_twins.cli": "from physics_twins import runs\n\ndef main():\n    runs.begin()",
        "physics_twins.runs": "import lazy_loader",
        "physics_twins.runs.folder": "from physics_twins import parameters",
        "physics_twins.parameters": "import pydantic",
    }
    stubs = {"physics_twins.runs": "from .folder import begin as begin"}
    assert size.n_floors(Sources(sources, stubs)) == 3


def test_a_face_counts_its_exports_and_a_package_without_one_all_its_modules_names():
    sources = {
        "physics_twins.models": "from physics_twins.models.folder import save as save",
        "physics_twins.models.folder": "def save(): ...\ndef check(): ...",
        "physics_twins.runs": "def open_run(): ...",
        "physics_twins.runs.places": "ROOT = 1\n_HIDDEN = 2\ndef find(): ...",
        "physics_twins.pulsar.simulate": "def simulate(): ...",
    }
    assert size.public_names(Sources(sources)) == {
        "models": {"save"},
        "runs": {"open_run", "ROOT", "find"},
    }


def test_the_report_tells_the_four_figures_of_this_project():
    report = size.report()
    for part in ("code lines below the twins", "entries", "floors", "circles", "public names"):
        assert part in report
    assert "endless" not in report
