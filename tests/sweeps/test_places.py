"""Where work can run is told in words, whatever is missing."""

import pytest

from physics_twins import clusters, runs
from physics_twins.clusters import batch
from physics_twins.data import write_json
from physics_twins.sweeps.places import places


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
    found = places().data
    assert found.index[0] == "local"
    assert found["now"].iloc[0] == "nothing; processes start with a run and end with it"
    assert "processes of" in found["what it is"].iloc[0]
    assert found["what it is"].iloc[1] == "commands not found on this machine"


def test_a_run_in_progress_is_named(monkeypatch, tmp_path):
    only(monkeypatch)
    run = runs.open_run(tmp_path / "one")
    record = run.provenance | {"status": "running", "notebook": "pulsar/4_infer"}
    write_json(run.folder / runs.PROVENANCE, record)
    assert places().data["now"].iloc[0] == "1 in progress: pulsar/4_infer"


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
    assert places().data.loc["slurm"].tolist() == ["jobs described as slurm, slurm-gpu", now]


def test_jobs_that_nobody_described_say_where_to(monkeypatch):
    only(monkeypatch, "slurm")
    monkeypatch.setattr(clusters, "sections", list)
    monkeypatch.setattr(clusters, "listing", lambda system, timeout_s: "")
    assert batch.DESCRIPTION in places().data.loc["slurm", "what it is"]
