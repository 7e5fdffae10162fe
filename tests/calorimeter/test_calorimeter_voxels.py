"""Cells against sums made deposit by deposit."""

import math

import numpy as np
import pytest

from physics_twins.calorimeter.geant4.beam import Beam, draw
from physics_twins.calorimeter.geant4.events import Deposits, fire
from physics_twins.calorimeter.geant4.voxels import axes, beam_frame, voxelise
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters

FLAT = CalorimeterParameters(theta_deg=20.0, phi_deg=70.0, spot_mm=20.0, threshold_kev=0.0)
ROUND = FLAT.replace(**CALO_CHALLENGE_2).replace(n_layers=30, width_mm=200.0)


def beam(parameters, n):
    return draw(parameters, seed=1, first=0, count=n)


def random_deposits(parameters, n_showers, n=4000):
    """Deposits anywhere in and around the cells, without Geant4."""
    rng = np.random.default_rng(5)
    pitch = parameters.absorber_mm + parameters.sensor_mm
    layer = rng.integers(0, parameters.n_layers, n)
    place = rng.normal(0, 60, (n, 3))
    place[:, 2] = pitch * (layer + rng.random(n))
    return Deposits(
        rng.integers(0, n_showers, n), rng.exponential(1, n), place, layer, rng.random(n) < 0.5
    )


def cartesian_cell(place, particle, parameters):
    x, y = (math.floor((place[i] + 25.5 * parameters.cell_mm) / parameters.cell_mm) for i in (0, 1))
    return x, y


def cylindrical_cell(place, particle, parameters):
    """Turn the particle's direction to z by two rotations, as a drawing would."""
    theta, phi = math.radians(particle.theta_deg[0]), math.radians(particle.phi_deg[0])
    x, y = place[0] - particle.position_mm[0, 0], place[1] - particle.position_mm[0, 1]
    x, y = x * math.cos(phi) + y * math.sin(phi), -x * math.sin(phi) + y * math.cos(phi)
    x, z = (
        x * math.cos(theta) - place[2] * math.sin(theta),
        (x * math.sin(theta) + place[2] * math.cos(theta)),
    )
    depth = math.floor(45 * z / (parameters.n_layers * (parameters.absorber_mm + parameters.sensor_mm)))
    angle = math.floor(16 * (math.atan2(y, x) / math.tau % 1))
    return depth, angle, math.floor(math.sqrt(x * x + y * y) / parameters.cell_mm)


@pytest.mark.parametrize("parameters", [FLAT, FLAT.replace(scored="everything"), ROUND])
def test_cells_hold_what_a_loop_over_deposits_finds(parameters):
    particles = beam(parameters, 3)
    deposits = random_deposits(parameters, 3)
    expected = np.zeros((3, *(len(axis.centres) for axis in axes(parameters))))
    for n, shower in enumerate(deposits.shower):
        if parameters.scored == "sensors" and not deposits.in_sensor[n]:
            continue
        particle = particles[shower : shower + 1]
        if parameters.layout == "cartesian":
            place = cartesian_cell(deposits.position_mm[n], particle, parameters)
            cell = (*place, deposits.layer[n])
        else:
            cell = cylindrical_cell(deposits.position_mm[n], particle, parameters)
        if all(0 <= i < size for i, size in zip(cell, expected.shape[1:], strict=True)):
            expected[(shower, *cell)] += deposits.energy_mev[n]
    found = voxelise(deposits, particles, parameters)
    assert (expected > 0).sum() > 500
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_shapes_are_those_of_3dgan_and_of_calo_challenge():
    shapes = [
        tuple(len(axis.centres) for axis in axes(p))
        for p in (CalorimeterParameters(), CalorimeterParameters(**CALO_CHALLENGE_2))
    ]
    assert shapes == [(51, 51, 25), (45, 16, 9)]


def test_the_depths_of_calo_challenge_are_two_layers():
    depth = axes(CalorimeterParameters(**CALO_CHALLENGE_2))[0]
    np.testing.assert_allclose(depth.centres, 3.4 * (np.arange(45) + 0.5))


def test_cells_below_the_threshold_are_empty_and_others_unchanged():
    deposits, particles = random_deposits(FLAT, 3), beam(FLAT, 3)
    everything = voxelise(deposits, particles, FLAT)
    cut = voxelise(deposits, particles, FLAT.replace(threshold_kev=300.0))
    np.testing.assert_array_equal(cut, np.where(everything >= 0.3, everything, 0))
    assert 0 < (cut > 0).sum() < (everything > 0).sum()


def test_turning_beam_and_deposits_together_changes_no_round_cell():
    deposits, particles = random_deposits(ROUND, 3), beam(ROUND.replace(spot_mm=0.0), 3)
    turn = math.radians(33.0)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    place = deposits.position_mm.copy()
    place[:, :2] = place[:, :2] @ matrix.T
    turned = Deposits(deposits.shower, deposits.energy_mev, place, deposits.layer, deposits.in_sensor)
    arrays = (particles.theta_deg, particles.phi_deg + 33.0, particles.position_mm, particles.stream)
    other = Beam("electron", particles.energy_gev, *arrays)
    first, second = voxelise(deposits, particles, ROUND), voxelise(turned, other, ROUND)
    # Rounding may move a deposit over an edge: none did with this seed.
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_the_frame_of_each_particle_is_right_handed_and_along_it():
    particles = draw(
        CalorimeterParameters(theta_max_deg=60.0, phi_max_deg=360.0), seed=2, first=0, count=50
    )
    frame = beam_frame(particles)
    np.testing.assert_allclose(frame @ frame.swapaxes(1, 2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frame), 1.0)
    np.testing.assert_array_equal(frame[:, 2], particles.direction)


@pytest.mark.parametrize("layout", ["cartesian", "cylindrical"])
def test_both_layouts_hold_all_energy_of_real_showers_when_they_cover_the_block(layout):
    parameters = CalorimeterParameters(
        energy_gev=1.0, layout=layout, cell_mm=100.0, scored="everything", threshold_kev=0.0
    )
    for batch in fire(beam(parameters, 5), parameters):
        cells = voxelise(batch.deposits, batch.beam, parameters).astype(float)
        whole = np.bincount(batch.deposits.shower, batch.deposits.energy_mev)
        # Cells are stored in single precision.
        np.testing.assert_allclose(cells.reshape(len(whole), -1).sum(axis=1), whole, rtol=1e-6)
