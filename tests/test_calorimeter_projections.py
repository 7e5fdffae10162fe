"""A shower from three sides: no energy gets lost, and symmetry stays."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter.projections import projections


def rings(cells):
    coordinates = {
        "depth": ("depth", np.arange(cells.shape[0]) * 3.4 + 1.7),
        "angle": ("angle", np.arange(16) * 22.5 + 11.25, {"units": "deg"}),
        "radius": ("radius", np.arange(9) * 4.65 + 2.325),
    }
    return xr.DataArray(cells, coordinates, ("depth", "angle", "radius"))


@pytest.fixture
def shower():
    return rings(np.random.default_rng(1).exponential(size=(5, 16, 9)))


@pytest.mark.parametrize("view", ["side", "top", "front"])
def test_each_view_holds_the_energy_of_the_shower(shower, view):
    assert float(projections(shower)[view].sum()) == pytest.approx(float(shower.sum()))


def test_views_of_one_shower_share_their_profiles(shower):
    seen = projections(shower)
    np.testing.assert_allclose(seen["side"].sum("x"), shower.sum(("angle", "radius")))
    np.testing.assert_allclose(seen["side"].sum("depth"), seen["front"].sum("y"))


def test_a_mirrored_shower_is_seen_mirrored(shower):
    mirrored = rings(shower.values[:, ::-1])
    front, other = (projections(each)["front"].values for each in (shower, mirrored))
    np.testing.assert_allclose(other, front[::-1], atol=1e-12)


def test_a_cell_lies_at_its_radius_and_angle():
    cells = np.zeros((1, 16, 9))
    cells[0, 4, 6] = 1.0
    front = projections(rings(cells))["front"]
    centre = [float((front * front[name]).sum()) for name in ("x", "y")]
    angle_rad = np.deg2rad(4 * 22.5 + 11.25)
    expected = 30.225 * np.array([np.cos(angle_rad), np.sin(angle_rad)])
    np.testing.assert_allclose(centre, expected, atol=0.4)


def test_square_cells_stay_as_they_are():
    cells = np.random.default_rng(2).exponential(size=(4, 3, 3))
    place = np.array([-5.1, 0.0, 5.1])
    coordinates = {"depth": np.arange(4.0), "x": place, "y": place}
    seen = projections(xr.DataArray(cells, coordinates, ("depth", "x", "y")))
    np.testing.assert_allclose(seen["front"].values, cells.sum(axis=0).T)


def test_several_showers_are_refused(shower):
    with pytest.raises(ValueError, match="one shower has cells in depth and across"):
        projections(xr.concat([shower, shower], "shower"))
