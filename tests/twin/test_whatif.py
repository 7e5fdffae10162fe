"""What-if: the calibration's covariance reaches the answer, both sides share their events."""

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pytest

from physics_twins.data import Estimate
from physics_twins.parameters import Parameters, field
from physics_twins.twin import (
    Answer,
    Asked,
    TwinState,
    changed,
    what_if,
)

N_EVENTS = 400
ERRORS = 0.3, 0.5


class Beam(Parameters):
    """Two numbers of which a measurement is the sum, with noise."""

    first: float = field(1.0, ge=-100, le=100, help="One part")
    second: float = field(2.0, ge=-100, le=100, help="The other")


class Sum(Asked[Beam]):
    """Measures first + second, many times, with noise that is the same every time."""

    numbers: ClassVar = {
        "sum": ("mm", "Mean of what is measured"),
        "product": ("mm2", "Not followed"),
    }

    def __init__(self, n_members=1):
        self.noise = np.random.default_rng(1).normal(size=N_EVENTS)
        self.n_members = n_members

    def parameters(self, known):
        return Beam(**known)

    def answers(self, scenario, known):
        asked = scenario(self.parameters(known))
        values = asked.first + asked.second + self.noise
        influence = np.stack([values - values.mean(), np.zeros(N_EVENTS)], axis=1)
        product = asked.first * asked.second
        return [
            Answer(np.array([values.mean() + 0.1 * n, product]), influence, np.zeros(2))
            for n in range(self.n_members)
        ]

    def expected(self, scenario, known):
        return super().expected(scenario, known) * [1, np.nan]


def state(correlation: float) -> TwinState:
    names = ["first", "second"]
    values = zip(names, (1.0, 2.0), ERRORS, strict=True)
    return TwinState(
        twin="beam",
        data_id="test",
        parameters={name: Estimate.of(value, error, "mm") for name, value, error in values},
        correlation={"first": {"second": correlation}},
        last_sync=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.6])
def test_the_error_of_a_sum_is_that_of_correlated_parts(correlation):
    table = what_if(Sum(), state(correlation), {}, seed=1).sel(scenario="as calibrated")
    a, b = ERRORS
    expected = np.sqrt(a**2 + b**2 + 2 * correlation * a * b)
    rng = np.random.default_rng(3)
    covariance = [[a**2, correlation * a * b], [correlation * a * b, b**2]]
    drawn = rng.multivariate_normal([1.0, 2.0], covariance, size=20_000).sum(axis=1)
    assert drawn.std() == pytest.approx(expected, rel=0.02)  # the law itself
    found = table["error_parts"].sel(number="sum", part="calibration")
    assert float(found) == pytest.approx(expected)


def test_what_both_sides_have_in_common_is_no_error_of_their_difference():
    scenarios = {"more": changed(first=4.0), "same": changed()}
    table = what_if(Sum(), state(0.5), scenarios, seed=1).sel(number="sum")
    more = table.sel(scenario="more")
    assert float(more["difference"]) == pytest.approx(3.0)
    # The noise cancels; of the calibration only what the scenario replaces is left.
    assert more["difference_parts"].values == pytest.approx([0, 0, ERRORS[0]], abs=1e-12)
    assert float(table.sel(scenario="same")["difference_error"]) == pytest.approx(0, abs=1e-12)


def test_members_that_disagree_by_a_constant_agree_on_a_difference():
    table = what_if(Sum(3), state(0.0), {"more": changed(first=4.0)}, seed=1).sel(number="sum")
    apart = table["difference_parts"].sel(scenario="more", part="model")
    assert float(apart) == pytest.approx(0, abs=1e-12)
    alone = table.sel(scenario="as calibrated")
    parts = 1 / np.sqrt(N_EVENTS), 0.1, np.hypot(*ERRORS)
    assert float(alone["error"]) == pytest.approx(np.sqrt(np.square(parts).sum()), rel=0.05)


def test_a_slope_that_is_not_known_is_no_error_of_nought():
    told = what_if(Sum(), state(0.0), {}, seed=1)["error_parts"].sel(part="calibration")
    assert np.isnan(float(told.sel(scenario="as calibrated", number="product")))
    assert np.isfinite(float(told.sel(scenario="as calibrated", number="sum")))


def test_a_slope_at_the_edge_of_what_is_possible_is_taken_inwards():
    asked = Sum()
    asked.lowest = 1.0  # where `first` lies
    table = what_if(asked, state(0.0), {}, seed=1).sel(scenario="as calibrated", number="sum")
    assert float(table["error_parts"].sel(part="calibration")) == pytest.approx(np.hypot(*ERRORS))


def test_other_events_on_both_sides_count_as_independent():
    rng = np.random.default_rng(2)
    sides = [rng.normal(size=(n, 1)) for n in (100, 400)]
    answers = [Answer(np.zeros(1), each - each.mean(axis=0), np.zeros(1)) for each in sides]
    apart = answers[0].less(answers[1]).error
    assert apart == pytest.approx(np.hypot(answers[0].error, answers[1].error))


def test_a_share_of_everything_is_not_known_without_error():
    answer = Answer(np.ones(1), np.zeros((20, 1)), np.array([0.05]))
    assert answer.error == answer.less(answer).error == 0.05
