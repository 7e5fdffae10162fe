"""Distances between samples whose true distance is known: Gaussians, copies, the same twice."""

import numpy as np
import pytest
from judges import judge
from scipy.stats import norm

from physics_twins.calorimeter.evaluating import copies, response
from physics_twins.calorimeter.evaluating.separation import separation
from physics_twins.data import auc, bootstrap

distances = judge("_calorimeter_distances")
tell_apart = judge("_calorimeter_network").tell_apart
N = 2000


def gaussian(seed: int, n: int = N, d: int = 1, shift: float = 0.0, width: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, d)) * width
    values[:, 0] += shift
    return values


def five_errors(value: float, error: float, truth: float) -> bool:
    return abs(value - truth) < 5 * error


# Separation power


def true_separation(shift: float, reference: np.ndarray) -> float:
    """Return that of two unit Gaussians, in bins that hold equal parts of the reference."""
    edges = np.quantile(reference, np.linspace(0, 1, 51))
    p, q = (np.diff(norm.cdf([-np.inf, *edges, np.inf], loc=m)) for m in (shift, 0.0))
    return float(0.5 * ((p - q) ** 2 / (p + q)).sum())


def test_separation_of_two_gaussians_is_what_their_densities_say():
    reference = gaussian(1, 20_000)
    value, error = separation(gaussian(2, 20_000, shift=0.5), reference, seed=0)
    assert five_errors(value[0], error[0], true_separation(0.5, reference[:, 0]))
    assert value[0] > 10 * error[0]


def test_separation_of_one_distribution_is_zero_although_samples_are_small():
    pairs = [separation(gaussian(n), gaussian(100 + n), seed=0) for n in range(20)]
    values, errors = (np.array([pair[k][0] for pair in pairs]) for k in (0, 1))
    assert abs(values.mean()) < 5 * values.std(ddof=1) / np.sqrt(20)
    # The bootstrap says how much single values scatter.
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.7


def test_separation_of_samples_without_overlap_is_one():
    value, _ = separation(gaussian(1, shift=100), gaussian(2), seed=0)
    assert value[0] == pytest.approx(1.0, abs=0.02)


def test_separation_sees_values_that_are_missing():
    sample = gaussian(1)
    sample[: N // 2] = np.nan
    value, error = separation(sample, gaussian(2), seed=0)
    assert value[0] - 5 * error[0] > 0.2


def test_separation_ends_with_the_mean_over_quantities():
    value, _ = separation(gaussian(1, d=3, shift=1), gaussian(2, d=3), seed=0)
    assert value[-1] == pytest.approx(value[:-1].mean())


# Frechet and kernel distance


def test_frechet_distance_of_two_gaussians_is_the_formula_of_the_truth():
    a, b = gaussian(1, 6000, d=4, shift=0.5, width=1.3), gaussian(2, 6000, d=4)
    scale = np.abs(b).max(axis=0)
    truth = (0.5 / scale[0]) ** 2 + (0.3**2 / scale**2).sum()
    value, error = distances.frechet_distance(a, b, seed=0)
    assert five_errors(value, error, truth)
    assert value > 10 * error


def test_extrapolated_frechet_distance_of_one_distribution_is_zero_where_the_plain_one_is_not():
    d, values, plain = 20, [], []
    for n in range(8):
        a, b = gaussian(n, d=d), gaussian(50 + n, d=d)
        values.append(distances.frechet_distance(a, b, seed=0)[0])
        scaled = distances.scaled(a, b)
        moments = [m for each in scaled for m in (each.mean(axis=0), np.cov(each.T))]
        plain.append(distances.gaussian_distance(*moments))
    error = np.std(values, ddof=1) / np.sqrt(8)
    assert abs(np.mean(values)) < 5 * error
    assert min(plain) > 5 * np.std(values, ddof=1)


def test_frechet_distance_says_nothing_where_showers_are_too_few_for_the_features():
    assert np.isnan(
        distances.frechet_distance(gaussian(1, 100, d=30), gaussian(2, 100, d=30), seed=0)
    ).all()


def test_kernel_distance_of_one_distribution_is_zero_within_its_error():
    values = [
        distances.kernel_distance(gaussian(n, d=5), gaussian(50 + n, d=5), seed=0) for n in range(10)
    ]
    value, error = np.array(values).T
    assert abs(value.mean()) < 5 * np.sqrt((error**2).sum()) / 10


def test_kernel_distance_sees_a_shift_and_a_width():
    for changed in ({"shift": 0.5}, {"width": 1.3}):
        value, error = distances.kernel_distance(gaussian(1, d=3, **changed), gaussian(2, d=3), seed=0)
        assert value > 5 * error


def test_kernel_distance_does_not_depend_on_the_units_of_a_feature():
    a, b = gaussian(1, d=3, shift=0.3), gaussian(2, d=3)
    units = np.array([1.0, 1e3, 1e-3])
    one, other = (distances.kernel_distance(a * u, b * u, seed=0)[0] for u in (np.ones(3), units))
    assert one == pytest.approx(other)


# Neighbours


def test_coverage_and_density_of_one_distribution_are_as_published():
    a, b = gaussian(1, 3000, d=6), gaussian(2, 3000, d=6)
    scores = distances.manifold_scores(a, b)
    # Naeem et al. 2020, lemmas 1 and 2: density 1, coverage 1 - 1/2^5 for as many of each.
    assert five_errors(*scores["density"], 1.0)
    assert five_errors(*scores["coverage"], 1 - 0.5**5)


def test_a_sample_that_lost_a_mode_keeps_its_precision_and_loses_recall_and_coverage():
    generator = np.random.default_rng(3)
    both = gaussian(1, d=4)
    both[:, 0] += 20 * generator.integers(0, 2, N)
    scores = distances.manifold_scores(gaussian(2, d=4), both)
    assert scores["precision"][0] > 0.9
    assert scores["recall"][0] < 0.55
    assert scores["coverage"][0] < 0.55


def test_a_sample_far_away_has_neither_precision_nor_recall():
    scores = distances.manifold_scores(gaussian(1, d=3, shift=100), gaussian(2, d=3))
    assert {name: value for name, (value, _) in scores.items()} == dict.fromkeys(scores, 0.0)


def rate(sample: np.ndarray, training: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    held_out = gaussian(9, 1000, d=8)
    others = np.random.default_rng(9).uniform(1, 100, 1000)
    return copies.copying_rate(sample, held_out, training, energy_gev=energy, held_out_gev=others)


def test_a_copied_training_set_is_caught_and_an_independent_one_is_not():
    energy = np.random.default_rng(5).uniform(1, 100, 1000)
    training = gaussian(1, d=8)
    assert rate(training[:1000], training, energy)[0] == 1.0
    nudged = training[:1000] + 0.05 * gaussian(2, 1000, d=8)
    assert rate(nudged, training, energy)[0] > 0.9
    value, error = rate(gaussian(3, 1000, d=8), training, energy)
    assert five_errors(value, error, copies.COPY_QUANTILE)


def test_a_part_of_copies_shows_as_that_part():
    energy = np.random.default_rng(5).uniform(1, 100, 1000)
    training = gaussian(1, d=8)
    sample = gaussian(3, 1000, d=8)
    sample[:300] = training[:300]
    value, error = rate(sample, training, energy)
    assert five_errors(value, error, 0.3 + 0.7 * copies.COPY_QUANTILE)


# Classifier


def test_auc_of_two_gaussians_is_the_one_of_the_best_test():
    a, b = gaussian(1, 500, d=3, shift=1.0), gaussian(2, 500, d=3)
    told, error = tell_apart(a, b, seed=0)
    # No test is better than the likelihood ratio; a network comes close.
    best = norm.cdf(1 / np.sqrt(2))
    assert best - 0.02 - 5 * error < told < best + 5 * error


def test_auc_of_one_distribution_is_one_half():
    assert five_errors(*tell_apart(gaussian(1, 600, d=5), gaussian(2, 600, d=5), seed=0), 0.5)


def test_a_classifier_sees_what_no_single_number_shows():
    generator = np.random.default_rng(4)
    correlated = generator.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 600)
    told, error = tell_apart(correlated, gaussian(2, 600, d=2), seed=0)
    assert told - 5 * error > 0.6


def test_a_classifier_gives_the_same_for_the_same_seed():
    a, b = gaussian(1, 100, d=2, shift=0.5), gaussian(2, 100, d=2)
    assert tell_apart(a, b, seed=1) == tell_apart(a, b, seed=1)


def test_auc_counts_a_tie_as_one_half():
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == (0.5, 0.0)


def test_the_error_of_auc_is_its_scatter():
    found = [auc(gaussian(n, 100, shift=0.5)[:, 0], gaussian(500 + n, 100)[:, 0]) for n in range(200)]
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=5 / np.sqrt(400))


def test_bootstrap_gives_the_scatter_of_a_mean():
    values = np.random.default_rng(2).normal(3.0, 2.0, 200)
    expected = values.std(ddof=1) / np.sqrt(200)
    told, error = bootstrap(np.mean, values, seed=1, n_draws=1000)
    assert told == values.mean()
    assert error == pytest.approx(expected, rel=0.1)  # 1/sqrt(2000) is 2 %


def test_bootstrap_takes_arrays_of_statistics_and_repeats_with_its_seed():
    values = np.random.default_rng(2).normal(size=(100, 3))
    first, again = (bootstrap(lambda v: v.mean(axis=0), values, seed=4) for _ in range(2))
    assert first[1].shape == (3,)
    assert (first[1] == again[1]).all()


def test_auc_and_its_error_are_those_of_gaussians():
    rng = np.random.default_rng(3)
    told = [auc(rng.normal(1.0, 1.0, 80), rng.normal(size=60)) for _ in range(400)]
    areas, errors = np.array(told).T
    # 0.7602: the chance that one Gaussian is above another, one standard deviation apart.
    assert areas.mean() == pytest.approx(0.7602, abs=4 * areas.std() / np.sqrt(400))
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


def test_too_few_showers_are_refused():
    few, many = gaussian(1, 5), gaussian(2, 100)
    for function in (distances.frechet_distance, distances.kernel_distance, tell_apart):
        with pytest.raises(ValueError, match="too few"):
            function(few, many, seed=0)
    with pytest.raises(ValueError, match="too few"):
        distances.manifold_scores(few, many)


# Profiles


def test_profiles_of_other_shape_differ_by_the_part_that_moved():
    one, other = np.tile([2.0, 1.0, 1.0], (50, 1)), np.tile([1.0, 1.0, 2.0], (50, 1))
    assert response.profile_difference(one, other, seed=0)[0] == pytest.approx(0.25)
