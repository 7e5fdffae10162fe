"""A classifier that tries to tell two recordings apart."""

import numpy as np
import pytest
from test_pulsar_realism import observation

from physics_twins.data import find_data_file
from physics_twins.pulsar.distinguish import distinguish
from physics_twins.pulsar.lookalike import lookalike
from physics_twins.pulsar.realism import realism
from physics_twins.pulsar.telescope import fit_telescope

LENGTH = 4096


def noise(seed: int, n_segments: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_segments * LENGTH, 24))


def test_noise_is_not_told_from_noise():
    made = observation(noise(0, 6))
    aucs = [
        distinguish(observation(noise(seed)), made, segment_spectra=LENGTH).auc for seed in range(1, 9)
    ]
    error = np.std(aucs, ddof=1) / np.sqrt(len(aucs))
    assert np.mean(aucs) == pytest.approx(0.5, abs=5 * error)


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
    seen = distinguish(observation(values), observation(noise(2, 6)), segment_spectra=LENGTH)
    assert seen.auc > 0.95
    assert len(seen.told_by) == 8


def test_too_few_frames_are_refused():
    short = observation(noise(1)[:2048])
    with pytest.raises(ValueError, match="8 frames of 256 spectra are too few"):
        distinguish(short, observation(noise(2)), segment_spectra=2048)


@pytest.mark.slow
def test_a_real_file_is_hardly_told_from_its_lookalike_but_easily_from_noise():
    path = find_data_file("pulsar/askap_frb_28.fil")
    if path is None:
        pytest.skip("twins data fetch pulsar/askap_frb_28.fil")
    length = int(realism(path).attrs["segment_spectra"])
    made = lookalike(fit_telescope(path, seed=1), 8 * length, seed=2)
    # The frames are 20: an area under the curve of 1/2 comes out with an error of about 0.1.
    assert distinguish(path, made, segment_spectra=length).auc < 0.8
    white = np.random.default_rng(3).standard_normal((4 * length, made.sizes["frequency"]))
    assert distinguish(path, observation(white), segment_spectra=length).auc > 0.98
