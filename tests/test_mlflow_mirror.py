import logging
import os
import socket
import sys

import pytest
from small_models import save

from physics_twins import mlflow_mirror, models
from physics_twins.mlflow_mirror import MirrorError

pytestmark = [
    # MLflow's own use of SQLAlchemy, when it opens a database.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database of MLflow; making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def tracking(database, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return database


def runs_in(database):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=database)
    experiment = client.get_experiment_by_name("physics-twins")
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


@pytest.mark.slow
def test_a_saved_model_is_in_mlflow_with_parameters_metrics_hash_and_files(tracking, tmp_path):
    model = save("mirrored")
    client, runs = runs_in(tracking)
    (run,) = [r for r in runs if r.info.run_name == "mirrored/1"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"learning_rate": "0.001", "n_epochs": "3", "seed": "7"}
    assert run.data.metrics["accuracy"] == 0.97
    assert run.data.metrics["accuracy_error"] == 0.01
    assert run.data.metrics["accuracy_baseline"] == 0.9
    assert run.data.tags["physics_twins.manifest_sha256"] == model.manifest_sha256
    copied = client.download_artifacts(run.info.run_id, "model", str(tmp_path))
    assert models.open_model(copied).manifest_sha256 == model.manifest_sha256


@pytest.mark.slow
def test_a_model_that_is_there_already_is_not_copied_again(tracking):
    model = save("again")
    before = len(runs_in(tracking)[1])
    assert mlflow_mirror.mirror(model) == mlflow_mirror.mirror(model)
    assert len(runs_in(tracking)[1]) == before


@pytest.mark.slow
def test_a_server_that_does_not_answer_does_not_lose_the_model(monkeypatch, caplog):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://somebody:secret@127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "physics_twins"):
        model = save()
    (record,) = [r for r in caplog.records if r.name == "physics_twins.models"]
    assert "classifier/1 is saved" in record.getMessage()
    assert "not mirrored: MLflow at http://127.0.0.1:" in record.getMessage()
    assert "secret" not in record.getMessage()
    assert models.find("classifier") == model


@pytest.mark.slow
def test_a_copy_that_fails_half_way_is_marked_failed_and_made_again_later(tracking, monkeypatch):
    from mlflow import MlflowClient

    def stop(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", stop)
        model = save("half")
        with pytest.raises(MirrorError, match="disk full"):
            mlflow_mirror.mirror(model)
    mlflow_mirror.mirror(model)
    runs = [r.info.status for r in runs_in(tracking)[1] if r.info.run_name == "half/1"]
    assert sorted(runs) == ["FAILED", "FAILED", "FINISHED"]


def test_without_mlflow_the_model_is_saved_and_the_line_to_install_it_is_told(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with caplog.at_level(logging.WARNING, "physics_twins"):
        model = save()
    assert "pip install 'physics-twins[mlflow]'" in caplog.text
    assert models.find("classifier") == model


def test_without_its_variable_mlflow_is_not_even_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    model = save()
    with pytest.raises(MirrorError, match="MLFLOW_TRACKING_URI is not set"):
        mlflow_mirror.mirror(model)


def test_the_environment_is_left_as_it_was(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    before = dict(os.environ)
    save()
    assert dict(os.environ) == before
