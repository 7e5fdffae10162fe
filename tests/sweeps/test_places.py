"""Where work can run is told in words, whatever is missing."""

import pytest

from physics_twins import clusters, runs
from physics_twins.data import write_json
from physics_twins.sweeps.places import places


@pytest.fixture(autouse=True)
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path))


def only(monkeypatch, **systems):
    """Let this machine have the commands of these batch systems alone."""
    monkeypatch.setattr(clusters, "batch_systems", lambda: systems)


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


def test_a_batch_system_says_how_its_jobs_are_described_and_what_waits_there(monkeypatch):
    only(monkeypatch, slurm=("jobs described as slurm", "does not answer"))
    assert places().data.loc["slurm"].tolist() == ["jobs described as slurm", "does not answer"]
