"""The generator of glitches: what it makes is of its family, and new."""

import numpy as np
import pytest

from physics_twins.virgo import generation, tracks

RATE_HZ = 1024
FAMILIES = ("blip", "tomte", "whistle")


def drawn(family, n, seed=1):
    return generation.drawn(family, n, detector="virgo_o4", sample_rate_hz=RATE_HZ, seed=seed)


@pytest.fixture(scope="module")
def families():
    return {name: drawn(name, 250) for name in FAMILIES}


@pytest.fixture(scope="module")
def generator(families):
    return generation.learn(families)


def middle_hz(series):
    power = (np.abs(np.fft.rfft(series, axis=-1)) ** 2).mean(axis=0)
    return np.interp(0.5, np.cumsum(power) / power.sum(), np.arange(len(power)) / 4)


def overlap(series, others):
    return (series @ others.T).max(axis=1)


def test_drawn_glitches_have_norm_one_and_follow_their_seed(families):
    np.testing.assert_allclose(np.linalg.norm(families["blip"], axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(drawn("blip", 3), families["blip"][:3])


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_glitches_lie_where_their_family_does(families, generator, family):
    made = generator.sample(family, 200, seed=3)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-4)
    apart = {name: abs(np.log(middle_hz(made) / middle_hz(each))) for name, each in families.items()}
    assert min(apart, key=apart.__getitem__) == family
    assert apart[family] < 0.1


def test_generated_whistles_are_no_copies_of_learnt_ones(families, generator):
    """As far from the nearest learnt one as a fresh one is, within a factor; a copy has 1."""
    learnt, fresh = families["whistle"], drawn("whistle", 100, seed=2)
    made = generator.sample("whistle", 100, seed=3)
    assert np.median(overlap(made, learnt)) < 0.9
    assert np.median(overlap(learnt[:100], learnt)) == pytest.approx(1, abs=1e-5)
    assert np.median(overlap(fresh, learnt)) < 0.9


def test_a_glitch_is_a_mixture_with_weights_that_its_neighbours_share():
    """Of glitches along one direction, new ones lie along it."""
    rng = np.random.default_rng(0)
    across = np.linalg.qr(rng.standard_normal((64, 2)))[0].T
    learnt = across[0] + np.linspace(-0.2, 0.2, 50)[:, None] * across[1]
    made = generation.learn({"blip": learnt}).sample("blip", 100, seed=1)
    np.testing.assert_allclose(made - made @ across.T @ across, 0, atol=1e-12)
    assert np.unique(made.round(9), axis=0).shape[0] == 100


def test_the_same_seed_generates_the_same_glitches_and_another_one_others(generator):
    first, again, other = (generator.sample("blip", 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-2)


@pytest.mark.parametrize("family", sorted(tracks.KINDS))
def test_few_numbers_hold_a_long_glitch(family):
    glitches, kind = drawn(family, 24, seed=4).astype(float), tracks.KINDS[family]
    numbers = [tracks.described(each, kind) for each in glitches]
    assert len(numbers[0]) < 100 < 192  # so many components hold 88 % of a whistle
    overlaps = [
        each @ tracks.series_of(told, kind, len(each))
        for each, told in zip(glitches, numbers, strict=True)
    ]
    # A whistle ends at once where it leaves the band, which no smooth amplitude does quite.
    assert np.median(overlaps) > {"whistle": 0.98, "scattered_light": 0.999}[family]
    assert min(overlaps) > 0.9


@pytest.mark.parametrize("family", sorted(tracks.KINDS))
def test_a_sign_is_half_a_turn_and_a_shift_moves_the_middle(family):
    glitch, kind = drawn(family, 1, seed=4)[0].astype(float), tracks.KINDS[family]
    told, turned = (tracks.described(each, kind) for each in (glitch, -glitch))
    np.testing.assert_allclose(turned[2:4], -told[2:4], atol=1e-4)
    n = len(glitch)
    back = tracks.series_of(told, kind, n)
    np.testing.assert_allclose(tracks.series_of(turned, kind, n), -back, atol=1e-3 * np.abs(back).max())
    moved = tracks.described(np.roll(glitch, 40), kind)
    assert (moved[1] - told[1]) * np.exp(told[0]) == pytest.approx(40, abs=0.01)
    np.testing.assert_allclose(moved[4:], told[4:], atol=1e-3)
