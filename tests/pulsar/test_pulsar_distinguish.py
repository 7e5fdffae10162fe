"""The judge of look-alikes sees stated damage, and nothing where there is nothing."""

import numpy as np
import pytest
from judges import judge

told = judge("_pulsar_judge").told

LENGTH = 4096
PLACE = np.arange(LENGTH)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((LENGTH, 24))


def test_noise_is_not_told_from_noise():
    areas = [told(noise(seed), noise(100 + seed), PLACE).mean() for seed in range(1, 9)]
    error = np.std(areas, ddof=1) / np.sqrt(len(areas))
    assert np.mean(areas) == pytest.approx(0.5, abs=5 * error)


@pytest.mark.parametrize("kind", ["neighbours", "tails", "memory", "common"])
def test_each_departure_from_noise_is_seen(kind):
    values = noise(1)
    if kind == "neighbours":
        values[:, 1:] += 0.3 * values[:, :-1].copy()
    elif kind == "tails":
        values[::40, 3] += 8
    elif kind == "memory":
        values[1:] += 0.3 * values[:-1].copy()
    else:
        values += 0.3 * np.random.default_rng(9).standard_normal((LENGTH, 1))
    assert told(noise(2), values, PLACE).mean() > 0.9


def test_what_is_like_the_same_spectra_is_never_learnt_from_and_tested_at_once():
    # Both are white noise, but the second kind holds every one of its spectra four times.
    real, few = noise(1), noise(2)[: LENGTH // 4]
    place = np.tile(np.arange(len(few)), 4)
    made = few[place]
    assert told(real, made, place).mean() == pytest.approx(0.5, abs=0.25)
    assert told(real, made, np.arange(LENGTH)).mean() > 0.8  # where nobody knows of it
