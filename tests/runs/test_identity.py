"""A run is found again only where code, interpreter and all that was read are still the same."""

import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from small_notebooks import OPEN, PERIOD, SAVE, write_notebook, write_project

from physics_twins import clusters, runs
from physics_twins.data import changed, note_path, noted, write_json
from physics_twins.runs import folder, provenance

VALUES = {"length_m": 2.0, "seed": 5, "on": "local", "run_dir": ""}
NAME = "pendulum/1_simulate"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("1")
    return path


PENDULUM: Any = SimpleNamespace(name=NAME, sha256="hash of the source", twins=None, fields={})


def begin(**options):
    return folder.begin(PENDULUM, VALUES, **options)


def computed(*paths):
    """A finished run whose kernel, this process, has read some files."""
    run = begin()
    assert not run.reused
    runs.open_run(run.folder)
    for path in paths:
        note_path(path)
    run.end("complete")
    return run


def test_another_content_of_what_was_read_is_another_run_and_the_old_one_the_old_run(table):
    first = computed(table)
    assert begin().folder == first.folder
    table.write_text("2")
    second = computed(table)
    assert begin().folder == second.folder
    table.write_text("1")
    assert begin().folder == first.folder
    table.unlink()
    assert not begin().reused


def test_what_was_read_is_in_the_provenance_and_in_a_comparison(table):
    first = computed(table)
    table.write_text("2")
    second = computed(table)
    (source,) = first.provenance["sources"]
    assert source["name"] == str(table)
    assert ("code", source["name"]) in [each[:2] for each in runs.compare(first, second)]


def test_a_folder_counts_by_its_files(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "a").touch()
    computed(tmp_path / "sample")
    assert begin().reused
    (tmp_path / "sample" / "b").touch()
    assert not begin().reused


def test_what_a_run_has_written_itself_is_not_told():
    run = begin()
    runs.open_run(run.folder)
    (run.folder / "own").touch()
    note_path(run.folder / "own")
    run.end("complete")
    assert run.provenance["sources"] == []


def test_code_that_really_ran_is_what_counts_and_what_is_named(monkeypatch):
    parts = provenance.part_sha256s() | {"": "another library"}
    run = begin()
    with monkeypatch.context() as kernel:
        kernel.setattr(provenance, "part_sha256s", lambda: parts)
        kernel.setattr(provenance, "__version__", "0.0.9")
        runs.open_run(run.folder)
        theirs = provenance.source_sha256()
    run.end("complete")
    code = run.provenance["code"]
    assert (code["version"], code["source_sha256"]) == ("0.0.9", theirs)
    assert theirs != provenance.source_sha256()
    assert not begin().reused


@pytest.mark.parametrize("change", [{"python": "3.99.0"}, {"packages": {"numpy": "0.1"}}])
def test_another_interpreter_makes_another_run(change, monkeypatch):
    theirs = provenance.describe_interpreter() | change
    run = begin()
    with monkeypatch.context() as kernel:
        kernel.setattr(provenance, "describe_interpreter", lambda: theirs)
        runs.open_run(run.folder)
    run.end("complete")
    assert run.provenance["interpreter"] | change == run.provenance["interpreter"]
    assert not begin().reused


@pytest.mark.parametrize(
    "record",
    [
        {"module": "os", "name": "x", "sha256": "y"},
        {"module": "physics_twins_of_others.data", "name": "x", "sha256": "y"},
        {"module": "physics_twins.data.sources", "name": 3, "sha256": "y"},
        {"name": "x"},
    ],
)
def test_a_record_that_this_library_has_not_written_is_never_current(record):
    assert changed([record]) == [record]


def test_an_interactive_run_keeps_what_it_is_and_reads(table):
    run = runs.open_run()
    note_path(table)
    assert run.status == "interactive"
    assert run.provenance["interpreter"]["executable"] == sys.executable
    assert [source["name"] for source in run.provenance["sources"]] == [str(table)]


def reads(path):
    note_path(path)
    return 1


def test_what_workers_read_is_heard_here(table):
    from functools import partial

    with clusters.connect("threads", jobs=1) as client, noted() as read:
        assert list(clusters.results(client, [partial(reads, table)])) == [1]
        assert 1 in clusters.results(client, [partial(reads, table)], tick_s=0.1)
    assert [source["name"] for source in read] == [str(table)]


@pytest.mark.slow
def test_a_kernel_of_the_same_name_does_not_run_the_notebook(tmp_path, monkeypatch):
    spec = {"argv": ["/bin/false"], "display_name": "Mine", "language": "python"}
    for place in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        folder = tmp_path / place / "kernels" / "python3"
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setenv(place, str(tmp_path / place))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.chdir(write_project(tmp_path / "project"))
    run = runs.run(NAME)
    assert run.status == "complete"
    told = run.provenance["interpreter"]
    assert (told["executable"], told["library"]) == (sys.executable, str(provenance.PACKAGE))
    assert not list(run.folder.glob(".*"))
    assert runs.run(NAME).reused


@pytest.mark.slow
def test_a_notebook_whose_kernel_finds_another_library_is_not_found_for_ours(tmp_path, monkeypatch):
    project = write_project(tmp_path / "project")
    monkeypatch.chdir(project)
    other = (
        "from physics_twins.runs import provenance\nprovenance.part_sha256s = lambda: {'': 'other'}\n"
    )
    write_notebook(project / "notebooks/pendulum/1_simulate.ipynb", other + OPEN, PERIOD, SAVE)
    run = runs.run(NAME)
    assert run.status == "complete"
    theirs = provenance.json_sha256({"": "other"})
    assert run.provenance["code"]["source_sha256"] == theirs
    assert not runs.run(NAME).reused


def on_another_machine(run, silent_s):
    record = run.provenance
    record["machine"] |= {"host": "elsewhere", "pid": 2**22 + 1}
    write_json(run.folder / folder.PROVENANCE, record)
    then = time.time() - silent_s
    os.utime(run.folder / folder.PROVENANCE, (then, then))


def test_a_run_of_another_machine_goes_on_as_long_as_it_gives_signs_of_life():
    run = begin()
    on_another_machine(run, 100.0)
    assert run.status == "running"
    on_another_machine(run, 400.0)
    assert run.status == "interrupted"


@pytest.mark.slow
def test_a_run_gives_signs_of_life_while_it_lasts(tmp_path, monkeypatch):
    project = write_project(tmp_path / "project")
    monkeypatch.chdir(project)
    monkeypatch.setattr(folder, "ALIVE_S", 0.05)
    seen = f"seen = os.stat(run.folder / {folder.PROVENANCE!r}).st_mtime"
    later = f"os.stat(run.folder / {folder.PROVENANCE!r}).st_mtime - seen"
    code = f"import os, time\n{seen}\ntime.sleep(1)\nrun.record({{'later_s': {later}}})"
    write_notebook(project / "notebooks/pendulum/1_simulate.ipynb", OPEN, code)
    assert runs.run(NAME).metrics["later_s"] > 0.3


def test_a_folder_that_was_claimed_and_left_does_not_stay_starting(root):
    place = root / "pendulum" / "1_simulate" / "abc-1"
    assert folder._claim(place)
    assert runs.resolve(place).status == "starting"
    os.utime(place / folder.PROVENANCE, (1.0, 1.0))
    assert runs.resolve(place).status == "interrupted"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (folder.PROVENANCE, b"{"),
        (folder.PROVENANCE, b"\xff\xfe"),
        (folder.PROVENANCE, b"[]"),
        (folder.PROVENANCE, b'{"status": "running"}'),
        (folder.PROVENANCE, b'{"status": 3, "started": "x", "machine": {}, "code": {}}'),
        (folder.PROVENANCE, b'{"status": "running", "started": "x", "machine": {}, "code": {}}'),
        (folder.METRICS, b"{"),
        (folder.METRICS, b'{"a": {"no": "value"}}'),
        (folder.PARAMETERS, b"{"),
    ],
)
def test_a_damaged_run_is_told_and_hides_no_other(root, name, content):
    from typer.testing import CliRunner

    from physics_twins.cli.__main__ import app

    sound, damaged = computed(), begin(force=True)
    damaged.end("complete")
    (damaged.folder / name).write_bytes(content)
    states = {run.folder.name: run.status for run in runs.find()}
    assert states == {sound.folder.name: "complete", damaged.folder.name: "damaged"}
    assert begin().folder == sound.folder
    told = CliRunner().invoke(app, ["runs"])
    assert told.exit_code == 0
    assert sound.folder.name in told.output
    assert "damaged" in told.output


def test_a_text_that_the_library_reads_is_its_code_too(tmp_path, monkeypatch):
    (tmp_path / "pulsar").mkdir()
    (tmp_path / "pulsar" / "cards.txt").write_text("NCHAN")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    before = provenance.part_sha256s.__wrapped__()
    (tmp_path / "pulsar" / "cards.txt").write_text("NBIN")
    after = provenance.part_sha256s.__wrapped__()
    assert before["pulsar"] != after["pulsar"]
