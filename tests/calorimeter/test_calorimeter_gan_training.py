"""3DGAN from showers to showers: streamed, trained in two stages, saved, exported, kept in range."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from units import check_units

from physics_twins import models
from physics_twins.calorimeter import files
from physics_twins.calorimeter.form import shower_dataset
from physics_twins.calorimeter.gan import model as gan_model
from physics_twins.calorimeter.gan.generate import generate_gan
from physics_twins.calorimeter.gan.measures import angle_rad
from physics_twins.calorimeter.gan.model import ShowerGan, load_gan, save_gan
from physics_twins.calorimeter.gan.shower_stream import ShowerStream, stream_files, stream_showers
from physics_twins.calorimeter.gan_parameters import FULL, NARROW, GanParameters
from physics_twins.calorimeter.geant4.beam import draw
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate
from physics_twins.calorimeter.train_gan import train_gan
from physics_twins.data import open_dataset, save

SETTINGS = GanParameters(n_steps=1, batch_size=2, accelerator="cpu")
NARROW_SHOWERS = CalorimeterParameters(**NARROW, n_showers=4)
FULL_SHOWERS = CalorimeterParameters(**FULL, n_showers=4)


def showers(parameters, *, seed=1, n=None):
    """Straight tracks: energy on the particle's path, shared by the two nearest cells of each layer."""
    beam = draw(parameters, seed=seed, first=0, count=n or parameters.n_showers)
    rng = np.random.default_rng(seed)
    cells = np.zeros((len(beam), 51, 51, 25), dtype=np.float32)
    layer = np.arange(25)
    for number in range(len(beam)):
        slope = beam.direction[number, 0] / beam.direction[number, 2] * 3.3 / 5.1
        place = 25 + (layer + 0.5) * slope
        low, energy_mev = place.astype(int), beam.energy_gev[number] * rng.uniform(0.9, 1.1, 25)
        cells[number, low, 25, layer] = energy_mev * (1 - place % 1)
        cells[number, low + 1, 25, layer] = energy_mev * (place % 1)
    return shower_dataset(parameters, beam, cells, {}, parameters.to_attributes())


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("narrow")
    return train_gan(showers(NARROW_SHOWERS), SETTINGS, seed=1, folder=folder, progress=False)


@pytest.fixture(scope="module")
def untrained():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        networks = gan_model.new_networks(FULL_SHOWERS, SETTINGS).eval().requires_grad_(False)
    # Running statistics of untrained networks: those of a batch.
    for part in networks.generator.modules():
        if isinstance(part, torch.nn.BatchNorm3d):
            part.momentum = 1.0
    gan = ShowerGan(networks, FULL_SHOWERS, SETTINGS)
    networks.generator.train()(gan_model.example_inputs(gan, 2))
    networks.eval()
    return gan


def test_the_two_trainings_are_those_of_the_source_project_scaled_to_our_energies():
    ranges = [(p.energy_gev, p.energy_max_gev, p.theta_max_deg) for p in (NARROW_SHOWERS, FULL_SHOWERS)]
    assert ranges == [(30, 60, 30), (1, 100, 30)]


def test_a_step_lowers_the_discriminator_on_both_kinds_and_the_generator_twice(narrow):
    names = {str(name) for name in narrow.history.data_vars}
    steps = ("real", "fake", "generator_1", "generator_2")
    parts = ("loss", "adversarial", "energy", "angle", "energy_sum")
    assert {f"{step}_{part}" for step in steps for part in parts} <= names
    assert np.isfinite(narrow.history["generator_2_loss"].values).all()


def test_the_full_range_is_learnt_from_the_weights_of_the_narrow_one(narrow, tmp_path):
    before = {name: tensor.clone() for name, tensor in narrow.networks.state_dict().items()}
    slow = SETTINGS.replace(learning_rate=1e-7)
    options = {"seed": 2, "folder": tmp_path, "progress": False}
    full = train_gan(showers(FULL_SHOWERS), slow, start_from=narrow, **options)
    assert full.parameters == FULL_SHOWERS
    for (name, old), new in zip(before.items(), full.networks.state_dict().values(), strict=True):
        assert torch.equal(narrow.networks.state_dict()[name], old)
        if "weight" in name:
            # RMSprop's first steps are of 3 learning rates.
            torch.testing.assert_close(new, old, rtol=0, atol=1e-5)
    moved = full.networks.generator.first.weight - before["generator.first.weight"]
    assert float(moved.abs().max()) > 0


def test_another_calorimeter_is_not_learnt_from_these_weights(untrained, tmp_path):
    thin = showers(FULL_SHOWERS.replace(absorber_mm=1.4))
    with pytest.raises(ValueError, match=r"absorber_mm = 1\.4: this 3DGAN was trained for 2\.8"):
        train_gan(thin, SETTINGS, seed=1, folder=tmp_path, start_from=untrained)


def test_another_power_is_not_learnt_from_these_weights(untrained, tmp_path):
    settings = SETTINGS.replace(power=0.5)
    with pytest.raises(ValueError, match=r"power = 0\.5 is 0\.85 in start_from"):
        train_gan(showers(FULL_SHOWERS), settings, seed=1, folder=tmp_path, start_from=untrained)


def test_only_the_showers_of_a_batch_are_read(tmp_path):
    data, read = showers(FULL_SHOWERS, n=12), []
    blocks = (data.isel(shower=slice(n, n + 1)) for n in range(12))

    def noted(number):
        read.append(number)
        return data["showers"][number].values

    stream = ShowerStream(noted, blocks, FULL_SHOWERS, SETTINGS)
    assert read == []
    train_gan(stream, SETTINGS, seed=1, folder=tmp_path, progress=False)
    assert len(read) == SETTINGS.batch_size


def test_a_lazy_dataset_gives_the_same_images(tmp_path):
    made = showers(FULL_SHOWERS)
    lazy = open_dataset(save(made, tmp_path / "s.nc"), chunks={"shower": 1})
    first, second = stream_showers(made, SETTINGS), stream_showers(lazy, SETTINGS)
    assert first.sha256 == second.sha256
    for n in range(len(first)):
        assert torch.equal(first[n]["image"], second[n]["image"])


def test_files_of_3dgan_give_the_same_images(tmp_path):
    made = showers(FULL_SHOWERS)
    for name, part in (("a", slice(0, 3)), ("b", slice(3, 4))):
        files.write_threedgan(made.isel(shower=part), tmp_path / name)
    first = stream_showers(made, SETTINGS)
    second = stream_files([tmp_path / "a", tmp_path / "b"], FULL_SHOWERS, SETTINGS)
    assert len(second) == len(first) == 4
    for n in range(4):
        assert torch.equal(first[n]["image"], second[n]["image"])
        for name in ("energy", "angle", "energy_sum"):
            torch.testing.assert_close(first[n][name], second[n][name])


def test_energies_are_seen_in_100_gev_and_angles_to_the_face():
    made = showers(FULL_SHOWERS)
    item = stream_showers(made, SETTINGS)[1]
    assert float(item["energy"]) == pytest.approx(float(made["energy_gev"][1]) / 100)
    expected = np.pi / 2 - np.deg2rad(float(made["theta_deg"][1]))
    assert float(item["angle"]) == pytest.approx(expected)
    scaled_sum = 0.05 * float(made["showers"][1].sum())
    assert float(item["energy_sum"]) == pytest.approx(scaled_sum, rel=1e-5)
    assert float((item["image"] ** (1 / 0.85)).sum()) == pytest.approx(scaled_sum, rel=1e-5)


def test_inclined_showers_have_their_angle_in_the_image(untrained):
    stream = stream_showers(showers(FULL_SHOWERS), SETTINGS)
    items = [stream[n] for n in range(4)]
    with torch.no_grad():
        judged = untrained.networks.discriminator(torch.stack([item["image"] for item in items]))
    truth = np.array([float(item["angle"]) for item in items])
    np.testing.assert_allclose(judged.angle_rad.numpy(), truth, atol=2e-3)


def test_showers_of_geant4_are_inclined_along_the_axis_that_is_measured():
    parameters = CalorimeterParameters(energy_gev=5.0, theta_deg=30.0, n_showers=20)
    stream = stream_showers(simulate(parameters, seed=5, progress=False), SETTINGS)
    cells = torch.stack([stream[n]["image"][0] for n in range(len(stream))]) ** (1 / 0.85)
    found = np.rad2deg(angle_rad(cells, cell_per_layer=5.1 / 3.3).numpy())
    error = found.std(ddof=1) / np.sqrt(len(found))
    # Not yet at the truth, 60 degrees: faint layers at the end count most.
    assert 60 - 5 * error < found.mean() < 70
    sums = np.array([float(stream[n]["energy_sum"]) for n in range(len(stream))])
    # Silicon sees 2.5 % of the energy, and cells are scaled by 50.
    assert sums.mean() == pytest.approx(5 * 50 * 0.025, rel=0.1)


def test_showers_with_too_small_a_sum_are_left_out():
    made = showers(FULL_SHOWERS)
    made["showers"][2] = 0.01
    made["showers"][2, 0, 0, 0] = 0.0
    sums = 0.05 * made["showers"].sum(("x", "y", "layer")).values
    lowest = float(np.sort(sums)[1]) * 0.999
    stream = stream_showers(made, SETTINGS.replace(lowest_sum=lowest))
    assert (len(stream), stream.n_left_out) == (3, 1)


def test_no_shower_above_the_lowest_sum_is_refused_with_a_hint_at_the_scale():
    made = showers(FULL_SHOWERS)
    with pytest.raises(ValueError, match="is scale = 50 right"):
        stream_showers(made.assign(showers=1e-6 * made["showers"]), SETTINGS)


def test_a_shower_beside_the_middle_is_refused():
    with pytest.raises(ValueError, match="x_mm: 3DGAN needs particles that enter at 0 mm"):
        stream_showers(showers(FULL_SHOWERS.replace(spot_mm=5.0)), SETTINGS)


def test_a_cell_that_is_no_number_is_named():
    made = showers(FULL_SHOWERS)
    made["showers"][3, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="shower 3 has a cell"):
        stream_showers(made, SETTINGS)


def test_round_cells_are_refused():
    made = showers(FULL_SHOWERS).assign_attrs(layout="cylindrical")
    with pytest.raises(ValueError, match="layout = 'cylindrical'"):
        stream_showers(made, SETTINGS)


def test_generated_showers_have_the_form_of_the_simulation(untrained):
    made = generate_gan(untrained, FULL_SHOWERS, seed=3)
    assert made["showers"].sizes == {"shower": 4, "x": 51, "y": 51, "layer": 25}
    assert dict(made["energy_gev"].attrs)["units"] == "GeV"
    beam = draw(FULL_SHOWERS, seed=3, first=0, count=4)
    assert np.array_equal(made["energy_gev"], beam.energy_gev)
    cells = made["showers"].values
    assert cells[cells > 0].min() >= np.float32(15.15e-3)
    check_units(made)


def test_generated_showers_are_the_same_whatever_their_number(untrained):
    many = generate_gan(untrained, FULL_SHOWERS, seed=4)
    few = generate_gan(untrained, FULL_SHOWERS.replace(n_showers=2), seed=4)
    sums = [made["showers"][:2].sum(("x", "y", "layer")).values for made in (few, many)]
    # Convolutions of other batches add in another order.
    np.testing.assert_allclose(*sums, rtol=1e-4)
    other = generate_gan(untrained, FULL_SHOWERS.replace(n_showers=2), seed=5)
    assert not np.allclose(other["showers"], few["showers"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"energy_max_gev": 120.0}, "energy_gev = 120 GeV is outside 1 to 100 GeV"),
        ({"energy_gev": 0.5}, r"energy_gev = 0\.5 GeV is outside 1 to 100 GeV"),
        ({"theta_max_deg": 45.0}, "theta_deg = 45 deg is outside 0 to 30 deg"),
        ({"phi_deg": 90.0}, "phi_deg = 90 to 90 deg: this 3DGAN was trained for 0 deg"),
        ({"phi_deg": 180.0}, "phi_deg = 180 to 180 deg: this 3DGAN was trained for 0 deg"),
        ({"spot_mm": 5.0}, "spot_mm = 5 mm must be 0 mm"),
        ({"particle": "photon"}, "particle = 'photon'"),
        ({"sensor_mm": 0.3}, r"sensor_mm = 0\.3"),
    ],
)
def test_what_was_not_learnt_is_refused(untrained, changes, told):
    with pytest.raises(ValueError, match=told):
        generate_gan(untrained, FULL_SHOWERS.replace(**changes), seed=1)


@pytest.fixture
def facts(tmp_path):
    card = {"card": gan_model.CARD, "metrics": {}, "parameters": SETTINGS, "seed": 1}
    return card | {"root": tmp_path}


def test_a_gan_is_saved_and_loaded_unchanged(untrained, facts, tmp_path):
    saved = save_gan(untrained, with_onnx=False, **facts)
    again = load_gan(root=tmp_path)
    assert again.address == str(saved)
    assert (again.parameters, again.sides) == (untrained.parameters, untrained.sides)
    one = FULL_SHOWERS.replace(n_showers=1)
    first, second = (generate_gan(each, one, seed=6)["showers"].values for each in (untrained, again))
    assert np.array_equal(first, second)
    suffixes = {path.suffix for path in saved.folder.iterdir()}
    assert ".safetensors" in suffixes
    assert suffixes & {".pt", ".pth", ".pkl", ".bin"} == set()


def test_another_model_is_no_gan(facts, tmp_path):
    models.save({"a": torch.zeros(2)}, gan_model.NAME, config={"image": {}}, **facts)
    with pytest.raises(models.ModelError, match=r"config\.json"):
        load_gan(root=tmp_path)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path):
    data, settings = showers(FULL_SHOWERS), SETTINGS.replace(n_steps=3)
    whole = train_gan(data, settings, seed=1, folder=tmp_path / "whole", progress=False)
    blocks = [data]
    n_read = 0

    def stopping(number):
        nonlocal n_read
        n_read += 1
        if n_read == settings.batch_size + 1:
            signal.raise_signal(signal.SIGINT)
        return data["showers"][number].values

    stream = ShowerStream(stopping, blocks, FULL_SHOWERS, settings)
    with pytest.raises(KeyboardInterrupt):
        train_gan(stream, settings, seed=1, folder=tmp_path / "parts", progress=False)
    again = train_gan(data, settings, seed=1, folder=tmp_path / "parts", progress=False)
    assert n_read < settings.n_steps * settings.batch_size
    for first, second in zip(
        whole.networks.state_dict().values(), again.networks.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
def test_sums_of_cells_of_the_onnx_file_agree_with_torch(untrained):
    session = models.onnx_session(gan_model.export_gan(untrained))
    assert gan_model.energy_sum_deviation(untrained, session, n=4) < 1e-6


def test_nothing_needs_root():
    code = (
        "import sys; from physics_twins.calorimeter import train_gan;"
        " from physics_twins.calorimeter.gan import generate;"
        " sys.exit(bool({'ROOT', 'uproot'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
