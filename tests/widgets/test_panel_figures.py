"""Pieces of live figures: colours that stand for values."""

import numpy as np
import pytest
from bokeh.models import ColorBar, CustomJSHover

from twin_panels.figures import LiveImage, frame


def levels(image: LiveImage, values: list[float]) -> list[int]:
    image.show(np.array([values]), x=(0, 1), y=(0, 1))
    return image.source.data["image"][0][0].tolist()


def test_equal_distances_are_equal_steps_of_colour():
    image = LiveImage(frame(x="", y="", height=200), low=-1, high=4, unit="σ")
    assert levels(image, [-5.0, -1.0, 0.0, 4.0, 9.0]) == [0, 0, 51, 255, 255]


def test_equal_factors_are_equal_steps_of_colour_where_they_should_be():
    image = LiveImage(frame(x="", y="", height=200), low=0.01, high=1e3, unit="MeV", logarithmic=True)
    assert levels(image, [0.0, 0.01, 0.1, 1e3, 1e5]) == [0, 0, 51, 255, 255]


@pytest.mark.parametrize("with_bar", [True, False])
def test_a_bar_is_there_where_it_is_wanted(with_bar):
    where = frame(x="", y="", height=200)
    LiveImage(where, low=1, high=10, unit="MeV", logarithmic=True, with_bar=with_bar)
    assert len(list(where.select(ColorBar))) == with_bar


def test_under_the_pointer_stands_the_value_and_not_the_colour():
    where = frame(x="", y="", height=200)
    LiveImage(where, low=0.01, high=1e3, unit="MeV", logarithmic=True)
    (told,) = where.select(CustomJSHover)
    assert "10 ** (-2.0 + value * " in told.code
    assert "'< 0.01'" in told.code


def test_a_figure_takes_the_place_that_it_is_given():
    narrow = frame(x="", y="", height=200, min_width=200, max_width=300)
    assert (narrow.min_width, narrow.max_width) == (200, 300)
