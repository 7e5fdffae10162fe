import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from small_models import save
from typer.testing import CliRunner

from physics_twins import models
from physics_twins.cli.__main__ import app

SLOW_IMPORTS = ("torch", "numpy", "xarray", "dask", "distributed", "papermill", "onnx")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, no_shipped_models):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def twins():
    """Call `twins models` here; what it refuses is raised as it reaches `cli.main`."""

    def call(*arguments, status=0):
        result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.output

    return call


@pytest.fixture
def process():
    """Call `twins models` as a process of its own."""
    command = [sys.executable, "-m", "physics_twins.cli", "models"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def call(*arguments):
        return subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    return call


def damage(model):
    (model.folder / "README.md").write_text("changed")


def test_models_are_listed_with_metric_error_date_and_state(twins):
    save()
    twins("promote", "classifier/1")
    damage(save())
    header, first, second = twins(status=1).splitlines()
    assert header.split() == ["model", "metric", "saved", "size", "state"]
    created = models.find("classifier/1").manifest.created
    assert first.split("  ")[0] == "classifier/1"
    for part in ("promoted", "accuracy 0.970 +- 0.010", created[:10], " MB", "ok"):
        assert part in first
    assert "classifier/2" in second
    assert "damaged" in second
    assert "README.md is changed" in second


def test_without_models_it_says_where_it_looked(twins, root):
    assert str(root) in twins()


def test_a_model_is_shown_with_its_origin_and_where_its_card_is(twins, root):
    model = save()
    shown = json.loads(twins("show", "classifier"))
    assert shown["model"] == "classifier/1"
    assert shown["seed"] == 7
    assert shown["manifest_sha256"] == model.manifest_sha256
    assert set(shown["files"]) == {"README.md", "config.json", "model.safetensors"}
    assert shown["folder"] == str(root / "classifier" / "1")
    assert (model.folder / "README.md").read_text() == model.card


def test_a_promotion_says_what_was_before(twins):
    save()
    save()
    assert twins("promote", "classifier/1") == "classifier/1 is promoted\n"
    assert "before it was version 1" in twins("promote", "classifier/2")


def test_the_list_tells_every_model_and_ends_with_status_1_when_one_is_damaged(twins):
    save("first")
    assert twins().splitlines()[1].endswith("ok")
    damage(save("second"))
    _, first, second = twins(status=1).splitlines()
    assert twins("verify", status=1) == twins(status=1)
    assert first.startswith("first/1 ")
    assert first.endswith("ok")
    assert second.startswith("second/1 ")
    assert "damaged: " in second
    assert "README.md is changed" in second


def test_a_zip_file_of_a_model_s_folder_is_imported(twins, tmp_path, monkeypatch):
    model = save()
    shutil.make_archive("out", "zip", model.folder)
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "colleague"))
    assert "classifier/1 is in" in twins("import", "out.zip")
    assert models.find("classifier").manifest_sha256 == model.manifest_sha256


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("show", "none"), "no model 'none'"),
        (("promote", "classifier"), "classifier/1"),
        (("show", "classifier/9"), "no model 'classifier/9'"),
        (("import", "missing.zip"), "missing.zip"),
        (("import", "slip.zip"), "no plain file name"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_with_status_2(process, arguments, part, tmp_path):
    save()
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("../escaped.json", "{}")
    refused = process(*arguments)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert part in refused.stderr
    assert not (tmp_path.parent / "escaped.json").exists()


def test_listing_imports_nothing_slow():
    save()
    code = (
        "import sys; from typer.testing import CliRunner; from physics_twins.cli.__main__ import app;"
        "print(CliRunner().invoke(app, ['models']).output.count('classifier/1'));"
        f"print(sorted(set(sys.modules) & set({SLOW_IMPORTS!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "[]"]
