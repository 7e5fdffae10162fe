"""Filters told by a prior of couplings and corrected by a network: laws, and the weights that ship."""

import shutil

import numpy as np
import pytest
import torch

from physics_twins import models, virgo
from physics_twins.virgo import filters, witnesses
from physics_twins.virgo.filter_network import FilterNetwork, features, turned
from physics_twins.virgo.train import PRODUCTS, true_filter


@pytest.fixture(scope="module")
def prior():
    return filters.Prior.of(filters.drawn(800, seed=1))


@pytest.fixture
def told():
    """A coupling that is loud in its band, quiet elsewhere and unheard above 300 Hz."""
    true = filters.drawn(20, seed=2)[7]
    error = np.where(filters.GRID_HZ < 300, 0.3, 0.0)
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((2, len(error))) / np.sqrt(2)
    return true, true * (error > 0) + error * (noise[0] + 1j * noise[1]), error


def power(values):
    return float(np.sum(np.abs(values) ** 2))


def test_bins_that_know_of_each_other_leave_a_fifth_of_the_errors(prior, told):
    true, solved, error = told
    known = prior.posterior(solved, error)
    left = known.mean - filters.undelayed(true, known.late_s)
    assert power(left[error > 0]) < 0.2 * power((solved - true)[error > 0])
    # A coupling is not Gaussian, so that errors are right to a factor, and no better.
    assert 0.3 < np.mean(np.abs(left) ** 2 / known.error**2) < 4


def test_a_record_that_is_only_noise_has_no_coupling(prior, told):
    true, solved, error = told
    known = prior.posterior(solved - true * (error > 0), error)
    assert known.scale == 0
    assert not known.mean.any()


def test_a_delay_is_found_and_taken_out(prior, told):
    _, solved, error = told
    late_s = 0.012
    first, second = (
        prior.posterior(filters.undelayed(solved, -more_s), error) for more_s in (0, late_s)
    )
    # Sought in eighths of the inverse of the band.
    assert second.late_s - first.late_s == pytest.approx(late_s, abs=4e-4)
    np.testing.assert_allclose(
        filters.undelayed(second.mean, late_s - second.late_s),
        filters.undelayed(first.mean, -first.late_s),
        atol=0.1,
    )


def test_features_turn_with_the_phase_of_a_coupling(prior, told):
    _, solved, error = told
    angle = torch.tensor([0.7])
    seen, later = (
        features(each, error, prior.posterior(each, error))[None]
        for each in (solved, solved * np.exp(0.7j))
    )
    torch.testing.assert_close(turned(seen, angle), later, atol=1e-3, rtol=1e-3)


def test_an_untrained_network_leaves_the_prior_as_it_is():
    network = FilterNetwork(4, 16)
    assert not network(torch.randn(2, 10, len(filters.GRID_HZ) // 2)).any()


@pytest.fixture(scope="module")
def stretch():
    changed = {"duration_s": 256.0, "faults_drawn": False}
    made = virgo.simulate(virgo.VirgoParameters(**virgo.HARD | changed), seed=11)
    settings = virgo.CleaningParameters(train_fraction=0.5)
    channels = [c.name for c in witnesses.COUPLED]
    return made, settings, virgo.fit(made, settings, channels=channels, products=PRODUCTS)


@pytest.mark.slow
def test_least_squares_have_honest_errors_and_the_network_that_ships_leaves_least(stretch):
    made, settings, wiener = stretch
    names, solved, errors = filters.told(wiener)
    model = virgo.load_filters()
    ways = {
        "Wiener": wiener,
        "prior": model.refined(wiener, prior_only=True),
        "network": model.refined(wiener),
    }
    left: dict[str, list[float]] = {name: [] for name in ways}
    for n, (name, number) in enumerate(zip(names, wiener.used, strict=True)):
        true, error = true_filter(made, wiener, name, settings), errors[n]
        certain = np.divide(1, error**2, out=np.zeros(len(error)), where=error > 0)
        if name in ("ENV_MAINS", "LSC_LINE", "ENV_MAINS*ASC_DIFF_TX"):
            continue  # at strong lines windows leak
        # Bins overlap, so that 944 of them are about 500; drift adds to the noise.
        assert np.sum(certain * np.abs(solved[n] - true) ** 2) / np.sum(error > 0) < 2
        if true.any():  # a wrong truth would be noticed
            assert np.sum(certain * np.abs(solved[n] + true) ** 2) > 2 * np.sum(error > 0)
        for way, each in ways.items():
            away = each.response[number, filters.BINS] - true
            left[way].append(float(np.sum(certain * np.abs(away) ** 2)))
    total = {way: np.mean(np.log(np.maximum(each, 1))) for way, each in left.items()}
    assert total["network"] < total["prior"] < total["Wiener"], total


def test_filters_of_another_length_are_refused(stretch):
    made, settings, _ = stretch
    settings = settings.replace(filter_s=4.0)
    wiener = virgo.fit(made.isel(time=slice(0, 32 * 1024)), settings, channels=["LSC_MICH"])
    with pytest.raises(
        ValueError, match=r"filter_s = 2 s and reach 480 Hz, these have bins of 0.25 Hz"
    ):
        filters.told(wiener)


def test_a_model_of_something_else_is_refused(tmp_path):
    found = models.find(virgo.load_filters().address)
    shutil.copytree(found.folder.parent, tmp_path / found.folder.parent.name)
    model = models.find("phi4-flow-8")
    shutil.copytree(model.folder.parent, tmp_path / "phi4-flow-8")
    assert virgo.load_filters("virgo-filters", root=tmp_path).prior.components.shape[0] == 944
    with pytest.raises(models.ModelError, match="is not that of filters"):
        virgo.load_filters("phi4-flow-8", root=tmp_path)
