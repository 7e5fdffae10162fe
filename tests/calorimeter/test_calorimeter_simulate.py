"""Showers by Geant4: laws they must obey, and that a seed says all about them."""

import sys
import threading

import numpy as np
import pytest
import xarray as xr
from units import check_units

from physics_twins import clusters, sweeps
from physics_twins.calorimeter.geant4 import beam, events
from physics_twins.calorimeter.geant4.materials import ABSORBERS, SENSORS
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.simulate import part, simulate
from physics_twins.data import open_dataset, save
from physics_twins.parameters import ParameterError

REFERENCE = CalorimeterParameters()
SMALL = CalorimeterParameters(energy_gev=0.2, energy_max_gev=2.0, n_showers=8)
CHALLENGE = CalorimeterParameters(**CALO_CHALLENGE_2)
VARIED = SMALL.replace(theta_max_deg=40.0, phi_max_deg=360.0, spot_mm=30.0)


@pytest.fixture(scope="module")
def small() -> xr.Dataset:
    return simulate(SMALL, seed=7)


def kept(showers: xr.Dataset) -> np.ndarray:
    """Energy that is accounted for, over that of the particle."""
    whole = showers["deposited_mev"] + showers["leaked_mev"]
    return (whole / (1e3 * showers["energy_gev"])).values


def visible(showers: xr.Dataset) -> np.ndarray:
    return showers["layer_energy_mev"].sum("layer_number").values


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


# What a seed says


def test_the_same_seed_gives_the_same_showers(small):
    xr.testing.assert_identical(simulate(SMALL, seed=7), small)


def test_another_seed_gives_other_showers(small):
    other = simulate(SMALL, seed=8)
    assert (other["deposited_mev"] != small["deposited_mev"]).all()
    assert (other["energy_gev"] != small["energy_gev"]).all()


def test_a_shower_does_not_depend_on_those_made_before_it(small):
    middle = part(SMALL, 3, 2, seed=7)
    xr.testing.assert_identical(middle, small.isel(shower=slice(3, 5)))


def test_more_showers_begin_with_the_same(small):
    more = simulate(SMALL.replace(n_showers=9), seed=7).isel(shower=slice(0, 8))
    xr.testing.assert_identical(more.drop_attrs(), small.drop_attrs())


@pytest.mark.parametrize("layout", ["cartesian", "cylindrical"])
def test_it_does_not_matter_how_many_showers_geant4_makes_at_once(monkeypatch, layout):
    parameters = VARIED.replace(layout=layout, scored="everything", n_showers=4)
    together = simulate(parameters, seed=1)
    monkeypatch.setattr(events, "_MOST_SHOWERS", 1)
    xr.testing.assert_identical(simulate(parameters, seed=1), together)


def test_another_calorimeter_in_between_changes_nothing(small):
    simulate(SMALL.replace(absorber="lead", sensor="liquid argon", n_showers=1), seed=1)
    simulate(SMALL.replace(production_cut_mm=5.0, n_showers=1), seed=1)
    xr.testing.assert_identical(simulate(SMALL, seed=7), small)


def test_two_threads_give_the_showers_of_one(small):
    with clusters.connect("threads", jobs=2) as client:
        xr.testing.assert_identical(simulate(SMALL, seed=7, client=client), small)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_other_processes_give_the_showers_of_this_one(small, monkeypatch, jobs):
    monkeypatch.setattr(sys.modules[simulate.__module__], "_CHUNK_SHOWERS", 3)
    with clusters.connect("local", jobs=jobs) as client:
        xr.testing.assert_identical(simulate(SMALL, seed=7, client=client), small)


def test_a_thread_of_its_own_gives_the_same_showers(small):
    found = []
    thread = threading.Thread(target=lambda: found.append(simulate(SMALL, seed=7)))
    thread.start()
    thread.join()
    xr.testing.assert_identical(found[0], small)


def test_an_interruption_leaves_geant4_in_order(small, monkeypatch):
    run, calls = events._run, []

    def interrupted(simulation, particles):
        calls.append(particles)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(simulation, particles)

    monkeypatch.setattr(events, "_MOST_SHOWERS", 3)
    monkeypatch.setattr(events, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, seed=7)
    monkeypatch.undo()
    xr.testing.assert_identical(simulate(SMALL, seed=7), small)


def test_an_interruption_cancels_what_workers_have_not_begun(monkeypatch):
    class Client:
        cancelled = 0

        def nthreads(self):
            return {"worker": 1}

        def submit(self, function, *arguments, pure, key):
            return self

        def result(self):
            raise KeyboardInterrupt

        def cancel(self, futures):
            self.cancelled = len(futures)

    client = Client()
    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, seed=7, client=client)
    assert client.cancelled == 4


def test_a_shower_that_geant4_gives_up_on_is_made_again_and_the_others_stay(small, monkeypatch, caplog):
    run = events._run
    bad = int(beam.draw(SMALL, seed=7, first=2, count=1).stream[0, 1])

    def choosy(simulation, particles):
        if bad in particles.stream[:, 1]:
            raise events.Geant4Error("stuck")
        return run(simulation, particles)

    monkeypatch.setattr(events, "_run", choosy)
    found = simulate(SMALL, seed=7)
    same = (found["deposited_mev"] == small["deposited_mev"]).values
    assert same.tolist() == [n != 2 for n in range(8)]
    assert "stuck" in caplog.text


def test_a_shower_that_cannot_be_made_is_named(monkeypatch):
    def never(simulation, particles):
        raise events.Geant4Error("stuck")

    monkeypatch.setattr(events, "_run", never)
    with pytest.raises(events.Geant4Error, match="shower 0, in 3 attempts: stuck"):
        simulate(SMALL, seed=7)


# What a shower is


@pytest.mark.parametrize("particle", ["electron", "photon"])
def test_energy_is_conserved_to_the_last_digit_where_no_nucleus_is_hit(particle):
    parameters = REFERENCE.replace(energy_gev=0.1, n_showers=40, particle=particle)
    accounted = kept(simulate(parameters, seed=1))
    # Nuclei take energy from a few showers; nothing adds to it.
    assert accounted.max() < 1 + 1e-9
    assert np.median(accounted) == pytest.approx(1, abs=1e-9)


def test_a_positron_brings_the_mass_of_two_electrons():
    parameters = REFERENCE.replace(energy_gev=0.1, n_showers=40, particle="positron")
    excess_mev = 100 * (np.median(kept(simulate(parameters, seed=1))) - 1)
    assert excess_mev == pytest.approx(2 * 0.51099895, abs=1e-6)


def test_a_deep_calorimeter_keeps_nearly_all_energy():
    showers = simulate(CHALLENGE.replace(n_showers=10), seed=2)
    assert (showers["deposited_mev"] / 1e4).mean() > 0.99


def test_the_sensors_see_a_share_that_does_not_depend_on_the_energy():
    shares = []
    for energy_gev, n_showers in ((1.0, 60), (4.0, 30)):
        parameters = REFERENCE.replace(energy_gev=energy_gev, n_showers=n_showers)
        shares.append(mean_and_error(visible(simulate(parameters, seed=3)) / (1e3 * energy_gev)))
    (low, low_error), (high, high_error) = shares
    # Fixed seed, five standard errors.
    assert abs(low - high) < 5 * np.hypot(low_error, high_error)
    assert np.hypot(low_error, high_error) < 0.05 * low


def test_a_shower_gets_deeper_with_the_logarithm_of_the_energy():
    depths = []
    for energy_gev in (0.5, 5.0):
        showers = simulate(REFERENCE.replace(energy_gev=energy_gev, n_showers=25), seed=4)
        layers = showers["layer_energy_mev"].values
        depths.append(mean_and_error(layers @ np.arange(25) / layers.sum(axis=1)))
    # Longo and Sestili 1975: one radiation length for each factor of e; a layer is 0.805 of them.
    expected = np.log(10) / (2.8 / 3.504 + 0.5 / 93.7)
    (low, low_error), (high, high_error) = depths
    assert abs(high - low - expected) < 5 * np.hypot(low_error, high_error)


def test_the_axis_of_a_shower_moves_with_the_tangent_of_the_angle():
    parameters = REFERENCE.replace(theta_deg=30.0, phi_deg=90.0, energy_gev=3.0, n_showers=25)
    showers = simulate(parameters, seed=5)["showers"]
    cells = ("x", "y", "layer")
    weight = showers / showers.sum(cells)
    y, z = (showers[axis] - (weight * showers[axis]).sum(cells) for axis in ("y", "layer"))
    # The straight line through each shower's energy.
    slope, error = mean_and_error(((weight * y * z).sum(cells) / (weight * z**2).sum(cells)).values)
    assert abs(slope - np.tan(np.pi / 6)) < 5 * error
    assert error < 0.05


def test_a_shower_enters_where_its_particle_does():
    showers = simulate(REFERENCE.replace(spot_mm=100.0, energy_gev=0.5, n_showers=10), seed=6)
    first = showers["showers"].isel(layer=slice(0, 6))
    for axis in ("x", "y"):
        centre = (first * first[axis]).sum(("x", "y", "layer")) / first.sum(("x", "y", "layer"))
        # A shower is a few cells of 5 mm wide.
        np.testing.assert_allclose(centre, showers[f"{axis}_mm"], atol=10)


def test_a_coarser_production_cut_means_fewer_steps_and_the_same_energy():
    steps, energies = [], []
    for cut_mm in (0.05, 20.0):
        parameters = REFERENCE.replace(production_cut_mm=cut_mm, energy_gev=1.0)
        particles = beam.draw(parameters, seed=7, first=0, count=15)
        (batch,) = events.fire(particles, parameters)
        steps.append(len(batch.deposits.shower))
        whole = np.bincount(batch.deposits.shower, batch.deposits.energy_mev) + batch.leaked_mev
        energies.append(mean_and_error(whole))
    assert steps[1] < 0.7 * steps[0]
    (low, low_error), (high, high_error) = energies
    assert abs(low - high) < 5 * np.hypot(low_error, high_error)


def test_what_the_cells_see_is_what_the_sensors_saw(small):
    cells = small["showers"].sum(("x", "y")).values
    layers = small["layer_energy_mev"].values
    # Cells below the threshold and beyond 130 mm are missing.
    assert (cells <= layers * (1 + 1e-6)).all()
    assert cells.sum() > 0.98 * layers.sum()


@pytest.mark.parametrize("absorber", ABSORBERS)
def test_every_absorber_works(absorber):
    parameters = SMALL.replace(absorber=absorber, n_showers=2, energy_gev=1.0, energy_max_gev=0.0)
    assert kept(simulate(parameters, seed=8)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_sensor_works(sensor):
    showers = simulate(SMALL.replace(sensor=sensor, n_showers=2), seed=8)
    assert (visible(showers) > 0).all()


def test_the_reference_calorimeter_agrees_with_another_program_of_geant4():
    values = visible(simulate(REFERENCE.replace(n_showers=20), seed=9))
    # 252.1 +- 1.4 MeV with tabulated bremsstrahlung, in another Python package of Geant4.
    mean, error = mean_and_error(values)
    assert abs(mean - 252.1) < 5 * np.hypot(error, 1.4)


# The form of the result


def test_everything_has_units_and_survives_the_disk(small, tmp_path):
    check_units(small)
    path = save(small, tmp_path / "showers.nc")
    read = open_dataset(path)
    xr.testing.assert_identical(read, small)
    # Most cells are empty: compressed, they take a small part of 260 kB.
    assert path.stat().st_size < 8 * 30_000


def test_the_attributes_say_what_was_simulated(small):
    assert small.attrs["absorber_mm"] == 2.8
    assert small.attrs["seed"] == 7
    assert small.attrs["made_by"].startswith("Geant4 11.")
    assert small.attrs["geant4_tables"] in ("small", "full")


def test_particles_are_drawn_as_asked():
    drawn = beam.draw(VARIED, seed=1, first=0, count=4000)
    logarithm = np.log(drawn.energy_gev / 0.2) / np.log(10)
    shares = {
        "energy": logarithm,
        "theta": drawn.theta_deg / 40,
        "phi": drawn.phi_deg / 360,
        "x": drawn.position_mm[:, 0] / 30 + 0.5,
        "y": drawn.position_mm[:, 1] / 30 + 0.5,
    }
    for name, share in shares.items():
        # Uniform in [0, 1): five standard errors of mean and of variance.
        assert 0 <= share.min() < share.max() < 1, name
        assert abs(share.mean() - 0.5) < 5 / np.sqrt(12 * 4000), name
        assert abs(share.var() - 1 / 12) < 5 / np.sqrt(180 * 4000), name
    assert len(np.unique(drawn.stream, axis=0)) == 4000


# What is refused


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"energy_gev": -1.0},
            "energy_gev = -1.0 GeV is outside its range: allowed is 0.01 to 1000 GeV",
        ),
        ({"theta_deg": 75.0}, "theta_deg = 75.0 deg is outside its range: allowed is 0 to 60 deg"),
        ({"absorber": "uranium"}, "absorber = 'uranium' is not allowed: allowed is one of 'tungsten'"),
        ({"particle": "pion"}, "particle = 'pion' is not allowed: allowed is one of 'electron'"),
        ({"energy_max_gev": 5.0}, "energy_max_gev = 5 must be 0 or at least energy_gev = 10"),
        ({"spot_mm": 500.0}, "spot_mm = 500 mm is wider than the calorimeter's face"),
        ({"production_cut_mm": 0.0}, "production_cut_mm = 0.0 mm is outside its range"),
        ({"energy": 5.0}, "unknown parameter 'energy'; did you mean 'energy_gev'?"),
    ],
)
def test_wrong_parameters_are_refused_by_name(wrong, words):
    with pytest.raises(ParameterError) as refusal:
        CalorimeterParameters(**wrong)
    assert words in str(refusal.value)


def test_without_calzone_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "calzone", None)
    with pytest.raises(ModuleNotFoundError, match=r"calzone.*pip install calzone xraylib"):
        simulate(SMALL, seed=1)


def test_simulations_can_be_swept(tmp_path):
    points = [{"absorber_mm": thickness_mm} for thickness_mm in (1.0, 4.0)]
    fixed = {"energy_gev": 0.2, "n_showers": 2, "n_layers": 5, "seed": 1}
    with clusters.connect("threads") as client:
        options = {"client": client, "out": tmp_path / "sweep", "progress": False}
        swept = sweeps.run("calorimeter.simulate:simulate", points, fixed=fixed, **options)
    assert swept.status == "complete", swept.failures
    assert swept.dataset()["layer_energy_mev"].sizes["absorber_mm"] == 2
