import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter import form
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.projections import bands, densities, profiles, projections, unrolling

PARAMETERS = CalorimeterParameters(**CALO_CHALLENGE_2, n_showers=3)
SHAPE = (3, 45, 16, 9)


def showers_of(cells: np.ndarray) -> xr.Dataset:
    beam = beams.draw(PARAMETERS, seed=1, first=0, count=len(cells))
    return form.shower_dataset(PARAMETERS, beam, cells.astype(np.float32), {}, {})


@pytest.fixture
def showers() -> xr.Dataset:
    return showers_of(np.random.default_rng(1).exponential(size=SHAPE))


@pytest.mark.parametrize("view", ["side", "top", "front"])
def test_each_view_adds_up_to_the_showers_energy(showers, view):
    images = projections(showers)[view]
    whole = showers["showers"].sum(("depth", "angle", "radius"))
    # Sums of thousands of numbers in single precision.
    assert np.allclose(images.sum(images.dims[1:]), whole, rtol=1e-5)


def test_a_shower_that_is_its_own_mirror_image_looks_so_from_all_sides():
    cells = np.random.default_rng(2).exponential(size=SHAPE)
    cells = cells + cells[:, :, ::-1]  # angles a and -a: y and -y
    seen = projections(showers_of(cells))
    assert np.allclose(seen["top"], seen["top"][:, ::-1], rtol=1e-5)
    assert np.allclose(seen["front"], seen["front"][:, :, ::-1], rtol=1e-5)
    assert not np.allclose(seen["side"], seen["side"][:, ::-1], rtol=1e-2)


def test_a_shower_turned_by_a_quarter_shows_its_side_from_above(showers):
    turned = showers_of(np.roll(showers["showers"].values, 4, axis=2))
    before, after = projections(showers), projections(turned)
    # Pixels on the edge of a cell are sampled at 4 points along x and 5 along y.
    rough = 0.02 * float(before["side"].max())
    assert np.allclose(after["top"].values, before["side"].values, atol=rough)


def test_views_share_the_profile_along_their_common_axis(showers):
    seen = projections(showers)
    along = showers["showers"].sum(("angle", "radius"))
    for view, across in (("side", "x"), ("top", "y")):
        assert np.allclose(seen[view].sum(across), along, rtol=1e-5)
    assert np.allclose(seen["side"].sum("depth"), seen["front"].sum("y"), rtol=1e-5)
    assert np.allclose(seen["top"].sum("depth"), seen["front"].sum("x"), rtol=1e-5)


def test_a_cell_is_seen_where_it_is():
    cells = np.zeros(SHAPE)
    cells[0, 7, 4, 8] = 1.0  # outermost ring, 90 to 112.5 degrees: up along y, a little to -x
    seen = projections(showers_of(cells)).isel(shower=0)
    x_mm, y_mm = (float((seen["front"] * seen[name]).sum()) for name in "xy")
    radius_mm = 4.65 * 2 / 3 * (9**3 - 8**3) / (9**2 - 8**2) * np.sin(np.pi / 16) / (np.pi / 16)
    angle = np.deg2rad(101.25)
    # A tenth of a pixel of 1.2 mm.
    assert (x_mm, y_mm) == pytest.approx(
        (radius_mm * np.cos(angle), radius_mm * np.sin(angle)), abs=0.12
    )
    assert int(seen["side"].values.sum(axis=0).argmax()) == 7
    assert int(seen["top"].values.sum(axis=0).argmax()) == 7


def test_pixels_wholly_in_one_cell_have_one_density():
    outer = unrolling(16, 9, 72).reshape(16, 9, -1)[:, 3:]
    for cell in outer.reshape(16 * 6, -1):
        assert np.isclose(cell, cell.max()).sum() > 0.3 * (cell > 0).sum()


def test_a_view_of_one_shower_is_that_of_many(showers):
    one, all_of_them = projections(showers.isel(shower=1)), projections(showers)
    for view in ("side", "top", "front"):
        assert np.allclose(one[view], all_of_them[view][1], rtol=1e-5)


@pytest.mark.parametrize("view", ["side", "top", "front"])
def test_a_density_does_not_depend_on_the_size_of_pixels(showers, view):
    coarse, fine = (densities(projections(showers, n_pixels=n))[view] for n in (36, 72))
    blocks = fine.values
    for axis in (-1, -2):
        if coarse.shape[axis] < fine.shape[axis]:
            pairs = np.moveaxis(blocks, axis, -1)
            blocks = np.moveaxis((pairs[..., ::2] + pairs[..., 1::2]) / 2, -1, axis)
    # Cells of the innermost ring are as small as pixels.
    assert np.allclose(blocks, coarse, atol=0.06 * float(coarse.max()))


def test_profiles_are_parts_of_the_particles_energy(showers):
    found = profiles(showers)
    response = showers["showers"].sum(("depth", "angle", "radius")) / (1e3 * showers["energy_gev"])
    assert np.allclose(found["longitudinal"].sum("depth"), response, rtol=1e-5)
    assert np.allclose(found["lateral"].sum("radius"), response, rtol=1e-5)


def test_two_of_three_showers_lie_in_the_band():
    cells = np.ones((100, 45, 16, 9)) * np.arange(100)[:, None, None, None]
    known = profiles(showers_of(cells))
    band = bands(known)
    inside = (known["lateral"] >= band["lateral_low"]) & (known["lateral"] <= band["lateral_high"])
    assert float(inside.mean()) == pytest.approx(0.68, abs=0.011)
    assert band.attrs["n_showers"] == 100
    assert float(band["lateral"][0] / known["lateral"].mean("shower")[0]) == pytest.approx(1)


def test_square_cells_are_seen_where_they_are():
    parameters = CalorimeterParameters(layout="cartesian")
    cells = np.zeros((2, 51, 51, 25), dtype=np.float32)
    cells[1, 30, 20, 7] = 2.0
    beam = beams.draw(parameters, seed=1, first=0, count=2)
    seen = projections(form.shower_dataset(parameters, beam, cells, {}, {}))
    x_mm, y_mm = 5 * parameters.cell_mm, -5 * parameters.cell_mm
    depth_mm = 7.5 * parameters.depth_mm / parameters.n_layers
    for view, place in (
        ("side", {"x": x_mm, "depth": depth_mm}),
        ("top", {"y": y_mm, "depth": depth_mm}),
        ("front", {"x": x_mm, "y": y_mm}),
    ):
        assert float(seen[view].isel(shower=1).sel(place, method="nearest", tolerance=1e-6)) == 2.0
        assert float(seen[view].sum()) == 2.0


def test_every_variable_has_units(showers):
    for data in (projections(showers), profiles(showers), bands(profiles(showers))):
        assert all("units" in data[name].attrs for name in data.variables)


def test_other_cells_are_refused(showers):
    flat = showers.rename(depth="z", angle="y", radius="layer")
    with pytest.raises(ValueError, match=r"end in depth, angle, radius .*found shower, z, y, layer"):
        projections(flat)
    with pytest.raises(ValueError, match="found nothing"):
        profiles(xr.Dataset())


@pytest.mark.parametrize("n_pixels", [0, 7])
def test_an_odd_number_of_pixels_is_refused(showers, n_pixels):
    with pytest.raises(ValueError, match="must be even"):
        projections(showers, n_pixels=n_pixels)


def test_a_band_of_nothing_is_refused(showers):
    with pytest.raises(ValueError, match="at least one shower"):
        bands(profiles(showers).isel(shower=slice(0)))
