"""A copy of each saved model in MLflow, for groups that look at their models there."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from physics_twins.saved_model import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "physics-twins"
ARTIFACTS = "model"

_HASH_TAG = "physics_twins.manifest_sha256"
_LONGEST_PARAMETER = 6000  # MLflow refuses longer values
# MLflow's own are 120 s and 7 retries with growing pauses: too long to hold up a training.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "0"}


class MirrorError(RuntimeError):
    """A model that could not be copied to MLflow; the model itself is not touched."""


def mirror(model: Model) -> str:
    """Copy a model's parameters, metrics, hashes and files to MLflow; return the id of MLflow's run.

    A model that is there already is not copied again. MLflow's own variables say where:
    `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME` (`physics-twins` by default), credentials.

    Raises:
        MirrorError: MLflow is not installed, `MLFLOW_TRACKING_URI` is not set, or MLflow failed.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise MirrorError("MLFLOW_TRACKING_URI is not set: it says where MLflow is")
    with _defaults(_PATIENCE | _QUIET):
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise MirrorError("MLflow is not installed: pip install 'physics-twins[mlflow]'") from None
        try:
            return _mirrored(model, MlflowClient(tracking_uri=address))
        except Exception as error:  # databases, servers and stores each raise their own
            reason = str(error).partition("\n")[0]
            raise MirrorError(_without_password(f"MLflow at {address} failed: {reason}")) from None


def _mirrored(model: Model, client: "MlflowClient") -> str:
    experiment = _experiment(client)
    wanted = f"tags.`{_HASH_TAG}` = '{model.manifest_sha256}' and attributes.status = 'FINISHED'"
    if there := client.search_runs([experiment], wanted, max_results=1):
        return there[0].info.run_id
    run = client.create_run(experiment, run_name=str(model), tags=_tags(model)).info.run_id
    try:
        for name, value in _parameters(model).items():
            client.log_param(run, name, value[:_LONGEST_PARAMETER])
        for name, value in _metrics(model).items():
            client.log_metric(run, name, value)
        client.log_artifacts(run, str(model.folder), ARTIFACTS)
    except Exception:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run)
    return run


def _experiment(client: "MlflowClient") -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _tags(model: Model) -> dict[str, str]:
    code = model.manifest.code
    tags = {
        _HASH_TAG: model.manifest_sha256,
        "physics_twins.model": str(model),
        "physics_twins.version": str(code.get("version")),
        "mlflow.note.content": model.card,
    }
    commit = code.get("git_commit")
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _parameters(model: Model) -> dict[str, str]:
    values: Mapping[str, Any] = {"seed": model.manifest.seed} | model.manifest.parameters
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
    }


def _metrics(model: Model) -> dict[str, float]:
    found = {}
    for name, metric in model.metrics.items():
        facts = {"": metric.value, "_error": metric.error}
        facts |= {"_limit": metric.limit, "_baseline": metric.baseline}
        found |= {name + suffix: value for suffix, value in facts.items() if value is not None}
    return found


@contextmanager
def _defaults(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set; MLflow has its settings from there."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _without_password(text: str) -> str:
    """Return a text whose addresses have lost `user:password@`; MLflow's errors quote them too."""
    return re.sub(r"://[^/@\s]+@", "://", text)
