"""Figures of showers: what they draw is what the showers hold."""

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.figures import shower_plots
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate

ASKED = CalorimeterParameters(energy_gev=0.2, layout="cylindrical", n_showers=12, theta_deg=20.0)


@pytest.fixture(scope="module")
def showers() -> xr.Dataset:
    return simulate(ASKED, seed=4)


@pytest.fixture(scope="module")
def numbers(showers) -> xr.Dataset:
    return features(showers)


def drawn(figure: hv.Layout | hv.Overlay) -> None:
    hv.renderer("bokeh").get_plot(figure)


@pytest.mark.parametrize("layout", ["cylindrical", "cartesian"])
def test_three_views_are_lit_by_the_energy_of_the_shower(layout):
    showers = simulate(ASKED.replace(layout=layout, n_showers=2), seed=4)
    figure = shower_plots.three_views(showers, 1, title="Second")
    drawn(figure)
    energy_mev = float(showers["showers"].isel(shower=1).sum())
    for image in figure:
        density = image.dimension_values(image.vdims[0], flat=False)
        across, up = (np.diff(image.dimension_values(n, expanded=False)[:2])[0] for n in (0, 1))
        assert np.nansum(density) * across * up == pytest.approx(energy_mev, rel=1e-5)
        assert image.vdims[0].unit == "MeV mm⁻²"


def test_a_shower_without_energy_is_dark_and_no_error(showers):
    drawn(shower_plots.three_views(showers.assign(showers=0 * showers["showers"])))


@pytest.mark.parametrize(("panel", "name"), [(0, "layer_mev"), (1, "ring_mev")])
def test_profiles_draw_one_shower_in_the_band_of_all(numbers, panel, name):
    figure = shower_plots.profiles(numbers, 3)
    drawn(figure)
    overlay = list(figure)[panel]
    band, mean, points = (overlay.get(n) for n in (0, 1, 2))
    np.testing.assert_allclose(points.dimension_values(name), numbers[name].isel(shower=3))
    means = numbers[name].mean("shower").values
    seen = means > 1e-5 * means.max()
    np.testing.assert_allclose(mean.dimension_values(name)[seen], means[seen])
    assert (mean.dimension_values(name)[~seen] < 1e-5 * means.max()).all()
    assert (band.dimension_values(f"{name}_high") >= band.dimension_values(name)).all()


def test_a_reference_is_drawn_beside_the_mean(numbers):
    figure = shower_plots.profiles(numbers, reference=numbers)
    drawn(figure)
    assert "Geant4, mean" in [each.label for each in next(iter(figure))]


def test_speed_up_is_drawn_with_its_break_even():
    table = xr.Dataset(
        {"ratio": ("energy_gev", [0.8, 8.0]), "spread": ("energy_gev", [0.1, 0.5])},
        {"energy_gev": [1.0, 10.0]},
    )
    figure = shower_plots.speed_up(table)
    drawn(figure)
    even = next(each for each in figure if each.label == "break-even")
    np.testing.assert_array_equal(even.dimension_values(1), [1.0, 1.0])
