"""Where work can run is told in words, whatever is missing."""

from physics_twins.clusters import BATCH_SYSTEMS, batch, places


def test_this_machine_comes_first_and_what_is_not_here_is_told(monkeypatch):
    monkeypatch.setattr(batch, "missing_commands", lambda system: ["x"])
    found = places().data["what it is"]
    assert found.index.tolist() == ["local", ", ".join(BATCH_SYSTEMS), "tcp://host:port"]
    assert "processes of" in found["local"]
    assert found.iloc[1] == "commands not found on this machine"


def test_a_batch_system_says_whether_its_jobs_are_described(monkeypatch):
    monkeypatch.setattr(batch, "missing_commands", lambda system: ["x"] * (system != "slurm"))
    missing = "jobs not described yet: write ~/.config/dask/jobqueue.yaml"
    assert missing in places().data["what it is"]["slurm"]
