"""The showers that the flow learns from: none teaches twice, none that chooses or tests teaches."""

import numpy as np
import pytest
from small_flows import untrained

from physics_twins.calorimeter import samples, training_showers
from physics_twins.calorimeter.flow_parameters import FlowParameters
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import flow_of
from physics_twins.calorimeter.train_ensemble import train_ensemble
from physics_twins.data import save

N = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samples as `make` leaves them, of showers that cost nothing."""
    place = tmp_path_factory.mktemp("showers")
    parameters, _ = training_showers.plan(N)["train"]
    flow = flow_of([untrained()], parameters, absorber_mm=(1.2, 1.6))
    for name, (asked, seed) in training_showers.plan(N).items():
        (place / name).mkdir()
        save(generate(flow, asked, seed=seed), place / name / "showers-00000.nc")
    return place


def test_every_sample_has_a_seed_of_its_own():
    seeds = [seed for _, seed in training_showers.plan().values()]
    assert len({*seeds, training_showers.TEST_SEED}) == len(seeds) + 1


def test_at_least_thirty_thousand_showers_are_learnt_from():
    n_showers = [parameters.n_showers for parameters, _ in training_showers.plan().values()]
    assert sum(n_showers) - training_showers.N_SHOWERS // 30 >= 30_000


def test_showers_that_choose_the_weights_teach_nothing(folder):
    learning, validation = training_showers.open_training(folder, N)
    nominal = learning[0]
    assert [nominal.sizes["shower"], validation.sizes["shower"]] == [58, 2]
    assert not np.isin(validation["shower"], nominal["shower"]).any()


def test_all_thicknesses_are_learnt_from(folder):
    learning, _ = training_showers.open_training(folder, N)
    found = {each.attrs["absorber_mm"] for each in learning}
    assert found == {training_showers.NOMINAL_MM, *training_showers.OTHER_MM}


def test_so_many_of_each_other_thickness_teach_as_are_asked_for(folder):
    learning, _ = training_showers.open_training(folder, N, n_other=1)
    assert [each.sizes["shower"] for each in learning] == [58] + 8 * [1]
    with pytest.raises(ValueError, match=r"mm holds 2 of 3 showers: call training_showers\.make"):
        training_showers.open_training(folder, N, n_other=3)


def test_too_few_showers_are_told(folder):
    with pytest.raises(ValueError, match=r"holds 60 of 90 showers: call training_showers\.make"):
        training_showers.open_training(folder, 90)


def test_showers_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="n_showers = 59 must be at least 60"):
        training_showers.plan(59)


def test_a_sample_is_made_once(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(samples, "make", lambda place, parameters, **options: made.append(place.name))
    training_showers.make(tmp_path, N, n_test=0)
    assert made == list(training_showers.plan(N))


@pytest.mark.slow
def test_members_trained_on_workers_are_those_trained_here(folder, tmp_path):
    from physics_twins import clusters

    settings = FlowParameters(
        n_showers=N, n_members=2, n_steps=2, batch_size=4, hidden=8, memory=8, layers=8, context=8
    )
    options = {"seed": 3, "progress": False}
    here = train_ensemble(folder, settings, folder=tmp_path / "here", **options)
    with clusters.connect("local") as client:
        there = train_ensemble(folder, settings, folder=tmp_path / "there", client=client, **options)
    assert [m.weights_sha256 for m in here] == [m.weights_sha256 for m in there]
    assert here[0].weights_sha256 != here[1].weights_sha256
