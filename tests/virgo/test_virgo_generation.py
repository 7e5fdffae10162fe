"""The generator of glitches: small ones, trained for seconds, follow what they were told."""

import numpy as np
import pytest
import torch

from physics_twins.virgo import generation

RATE_HZ = 1024
SETTINGS = generation.GeneratorParameters(n_components=24, width=64, n_layers=2, n_steps=400)


@pytest.fixture(scope="module")
def families():
    options = {"detector": "virgo_o4", "sample_rate_hz": RATE_HZ, "seed": 1}
    return {name: generation.drawn(name, 250, **options) for name in ("blip", "tomte")}


@pytest.fixture(scope="module")
def trained(families):
    return generation.train(families, SETTINGS, seed=1, progress=False)


def middle_hz(series):
    power = (np.abs(np.fft.rfft(series, axis=-1)) ** 2).mean(axis=0)
    return np.interp(0.5, np.cumsum(power) / power.sum(), np.arange(len(power)) / 4)


def test_drawn_glitches_have_norm_one_and_follow_their_seed(families):
    np.testing.assert_allclose(np.linalg.norm(families["blip"], axis=1), 1, rtol=1e-5)
    again = generation.drawn("blip", 3, detector="virgo_o4", sample_rate_hz=RATE_HZ, seed=1)
    np.testing.assert_array_equal(again, families["blip"][:3])


def test_components_give_back_the_glitches_of_short_families(families, trained):
    flow, blips = trained.modules["flow"], torch.from_numpy(families["blip"])
    number = torch.zeros(len(blips), dtype=torch.long)
    again = flow.series(flow.coefficients(blips, 0), number)
    # 24 components of a family with five parameters hold all but a thousandth of its power.
    assert float((again - blips).square().sum(dim=1).median()) < 2e-3


def test_training_lowers_the_loss(trained):
    loss = trained.history["flow_loss"].values
    assert loss[-50:].mean() < 0.8 * loss[:10].mean()


@pytest.mark.parametrize("family", ["blip", "tomte"])
def test_generated_glitches_lie_where_their_family_does(families, trained, family):
    made = trained.modules["flow"].sample(family, 200, seed=3).numpy()
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-4)
    other = "tomte" if family == "blip" else "blip"
    apart = abs(np.log(middle_hz(made) / middle_hz(families[family])))
    assert apart < 0.2 * abs(np.log(middle_hz(families[other]) / middle_hz(families[family])))


def test_the_same_seed_generates_the_same_glitches_and_another_one_others(trained):
    flow = trained.modules["flow"]
    first, again, other = (flow.sample("blip", 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
