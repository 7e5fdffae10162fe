"""Where work can run is told in words, whatever is missing."""

import pytest

from physics_twins import clusters, runs
from physics_twins.clusters import batch
from physics_twins.data import write_json
from physics_twins.sweeps import places
from physics_twins.sweeps.places import Place, Places


@pytest.fixture(autouse=True)
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path))


def only(monkeypatch, *systems):
    """Let this machine have the commands of these batch systems alone."""
    monkeypatch.setattr(
        clusters, "missing_commands", lambda system: [] if system in systems else ["submit"]
    )


def test_this_machine_comes_first_and_says_that_nothing_runs(monkeypatch):
    only(monkeypatch)
    here, absent, _ = places.look().rows
    assert (here.on, here.now) == ("local", "nothing; processes start with a run and end with it")
    assert "processes of" in here.has
    assert absent.has == "commands not found on this machine"


def test_a_run_in_progress_is_named(monkeypatch, tmp_path):
    only(monkeypatch)
    run = runs.open_run(tmp_path / "one")
    record = run.provenance | {"status": "running", "notebook": "pulsar/4_infer"}
    write_json(run.folder / runs.PROVENANCE, record)
    assert places.look().rows[0].now == "1 in progress: pulsar/4_infer"


@pytest.mark.parametrize(
    ("listing", "now"),
    [
        (None, "does not answer"),
        ("", "no job of yours in the queue"),
        ("12 PENDING Priority\n", "1 job of yours in the queue"),
        ("JobID State\n12 Q\n 13 R\n", "2 jobs of yours in the queue"),
    ],
)
def test_a_batch_system_says_what_waits_there_or_that_it_does_not_answer(monkeypatch, listing, now):
    only(monkeypatch, "slurm")
    monkeypatch.setattr(clusters, "sections", lambda: ["slurm", "slurm-gpu"])
    monkeypatch.setattr(clusters, "listing", lambda system, timeout_s: listing)
    assert places.look().rows[1] == Place("slurm", "jobs described as slurm, slurm-gpu", now)


def test_jobs_that_nobody_described_say_where_to(monkeypatch):
    only(monkeypatch, "slurm")
    monkeypatch.setattr(clusters, "sections", list)
    monkeypatch.setattr(clusters, "listing", lambda system, timeout_s: "")
    assert batch.DESCRIPTION in places.look().rows[1].has


def test_the_table_is_escaped_in_a_notebook_and_aligned_as_text():
    shown = Places([Place("local", "<b>", "nothing")])
    assert "&lt;b&gt;" in shown._repr_html_()
    assert str(shown) == "local      <b>; now: nothing"
