import json
import os
import shutil

import pytest
import torch
from small_models import save

from physics_twins import models
from physics_twins.data import changed, noted
from physics_twins.models import ModelError, registry


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Your own models are in one folder, the project's in another."""
    project = tmp_path / "project"
    (project / "notebooks" / "pulsar").mkdir(parents=True)
    (project / "notebooks" / "pulsar" / "1_simulate.ipynb").touch()
    monkeypatch.chdir(project)
    monkeypatch.setattr("physics_twins.data.homes", lambda: [project])
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def shipped(tmp_path):
    return tmp_path / "project" / "models"


def versions(**options):
    return [(e.name, e.version, e.promoted, bool(e.problem)) for e in models.available(**options)]


def damage(model):
    path = model.folder / "README.md"
    path.write_bytes(path.read_bytes() + b" ")


def test_without_a_variable_models_are_saved_beside_the_runs(monkeypatch, tmp_path):
    monkeypatch.delenv("PHYSICS_TWINS_MODELS")
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    assert save().folder == tmp_path / "runs" / "models" / "classifier" / "1"


def test_the_newest_version_is_found_until_another_is_promoted():
    for _ in range(3):
        save()
    assert str(models.find("classifier")) == "classifier/3"
    models.promote("classifier/2")
    assert str(models.find("classifier")) == "classifier/2"
    assert str(models.find("classifier/3")) == "classifier/3"


def test_ten_comes_after_nine():
    for _ in range(10):
        save(weights={"a": torch.ones(1)})
    assert str(models.find("classifier")) == "classifier/10"


def test_an_older_version_can_be_promoted_again_and_the_history_is_kept():
    for address in ("classifier/1", "classifier/2", "classifier/1"):
        save()
        models.promote(address)
    assert str(models.find("classifier")) == "classifier/1"
    history = registry.promotions("classifier")
    assert [item["version"] for item in history] == [1, 2, 1]
    assert history[0]["manifest_sha256"] == models.find("classifier/1").manifest_sha256


def test_models_of_the_project_are_found_after_your_own(shipped):
    save(root=shipped)
    assert str(models.find("classifier")) == "classifier/1"
    assert save().manifest.version == 2
    assert [e.folder.parents[1] for e in models.available()] == [shipped, models.roots()[0]]


def test_a_model_of_the_project_can_be_promoted_without_changing_the_project(shipped, root):
    save(root=shipped)
    save()
    models.promote("classifier/1")
    assert str(models.find("classifier")) == "classifier/1"
    assert (root / "classifier" / "promoted.json").is_file()
    assert not (shipped / "classifier" / "promoted.json").exists()


def test_one_number_in_two_places_is_told(shipped):
    save()
    save(root=shipped)
    with pytest.raises(ModelError, match=r"classifier/1 have the same address: remove one"):
        models.find("classifier")


def test_every_model_is_listed_the_damaged_one_too():
    save("a")
    models.promote("a/1")
    damage(save("b"))
    assert versions() == [("a", 1, True, False), ("b", 1, False, True)]
    assert versions(address="b") == [("b", 1, False, True)]


def test_a_damaged_model_is_neither_found_nor_promoted():
    save()
    damage(save())
    with pytest.raises(ModelError, match=r"README\.md is changed"):
        models.find("classifier")
    with pytest.raises(ModelError, match=r"README\.md is changed"):
        models.promote("classifier/2")
    assert registry.promotions("classifier") == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("clasifier", "no model 'clasifier' in .*; there are classifier/1"),
        ("classifier/7", "no model 'classifier/7' in .*; there are classifier/1"),
        ("classifier/0", "no address"),
        ("classifier/../x", "no address"),
        ("classifier/1/..", "no address"),
        ("../classifier", "no address|lowercase"),
        ("", "lowercase"),
    ],
)
def test_an_address_that_names_no_model_is_told(address, message):
    save()
    with pytest.raises(ModelError, match=message):
        models.find(address)


def test_a_promotion_names_a_version():
    save()
    with pytest.raises(ModelError, match="say which version"):
        models.promote("classifier")


def test_a_sound_model_in_the_place_of_another_is_refused(root):
    one, other = save("one"), save("other")
    shutil.rmtree(one.folder)
    shutil.copytree(other.folder, one.folder)
    with pytest.raises(ModelError, match="one/1 holds other/1: it was moved or exchanged"):
        models.find("one")
    assert versions(address="one") == [("one", 1, False, True)]


def test_a_promoted_version_that_was_exchanged_is_refused(root):
    """Whoever can write a sound model of the same address cannot make it the promoted one."""
    promoted = models.promote(str(save()))
    shutil.rmtree(promoted.folder)
    (root / "classifier" / "promoted.json").rename(root / "kept.json")
    assert str(save(seed=8)) == "classifier/1"
    (root / "kept.json").rename(root / "classifier" / "promoted.json")
    with pytest.raises(ModelError, match="not the model that was promoted"):
        models.find("classifier")


def test_a_number_that_was_promoted_is_not_used_again():
    save()
    newest = save()
    models.promote(str(newest))
    shutil.rmtree(newest.folder)
    assert str(save()) == "classifier/3"


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"history": [{"version": 1}]}', '{"history": [{"version": true}]}', "{", "\0"],
)
def test_a_damaged_list_of_promotions_is_told(content, root):
    save()
    path = root / "classifier" / "promoted.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"promoted\.json"):
        models.find("classifier")
    assert len(models.available()) == 1


def test_a_promotion_that_is_stopped_leaves_the_old_one(monkeypatch, root):
    save()
    save()
    models.promote("classifier/1")

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        models.promote("classifier/2")
    assert str(models.find("classifier")) == "classifier/1"
    assert len(json.loads((root / "classifier" / "promoted.json").read_text())["history"]) == 1


def test_other_files_and_folders_among_the_models_do_not_matter(root):
    save()
    (root / "notes.txt").touch()
    (root / "classifier" / "draft").mkdir()
    (root / "classifier" / "01").mkdir()
    (root / ".unfinished-1").mkdir()
    assert versions() == [("classifier", 1, False, False)]


def test_a_model_that_was_used_is_noted_and_another_of_its_name_is_not_the_same():
    save()
    with noted() as read:
        models.find("classifier")
        models.find("classifier/1")
    assert [source["name"] for source in read] == ["classifier", "classifier/1"]
    assert changed(read) == []
    second = save()
    models.promote(str(second))
    assert changed(read) == read[:1]
    models.promote("classifier/1")
    assert changed(read) == []
    damage(models.find("classifier/1"))
    assert changed(read) == read


def test_a_model_in_a_folder_of_its_own_is_not_noted(tmp_path):
    save(root=tmp_path / "run")
    with noted() as read:
        models.find("classifier", root=tmp_path / "run")
    assert read == []
