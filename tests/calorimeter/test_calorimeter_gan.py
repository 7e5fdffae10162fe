"""3DGAN: published sizes, and every repaired defect; its training and files are tested beside."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from physics_twins.calorimeter.gan import images, losses, task
from physics_twins.calorimeter.gan.measures import NO_ANGLE_RAD, angle_rad
from physics_twins.calorimeter.gan.networks import Discriminator, Generator, Judged
from physics_twins.calorimeter.gan_parameters import GanParameters
from physics_twins.calorimeter.parameters import CalorimeterParameters

SETTINGS = GanParameters(flipped=0.0)
N = 2


@pytest.fixture(scope="module")
def networks():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return {"generator": Generator(), "discriminator": Discriminator()}


@pytest.fixture
def batch(networks):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        images = networks["generator"](torch.randn(N, 256, generator=generator))
    energy, angle = torch.tensor([0.1, 0.5]), torch.tensor([1.5, 1.2])
    return {"image": images, "energy": energy, "angle": angle, "energy_sum": torch.tensor([12.0, 60.0])}


def judged(n=N, logit=0.0):
    values = torch.ones(n)
    return Judged(torch.full((n,), logit), values, values, values)


def truth(n=N):
    return {name: torch.ones(n) for name in ("energy", "angle", "energy_sum")}


def gradients(module):
    return [weight.grad for weight in module.parameters() if weight.grad is not None]


@pytest.fixture
def without_gradients(networks):
    for module in networks.values():
        module.zero_grad()
    return networks


@pytest.mark.parametrize(("name", "n"), [("generator", 1_364_983), ("discriminator", 87_354)])
def test_a_network_has_as_many_weights_as_published(networks, name, n):
    assert sum(weight.numel() for weight in networks[name].parameters()) == n


def test_an_image_has_the_published_cells_and_no_negative_one(batch):
    assert batch["image"].shape == (N, 1, 51, 51, 25)
    assert batch["image"].min() >= 0


@pytest.mark.parametrize("logit", [-12.0, 0.3, 12.0])
def test_there_is_one_sigmoid_before_the_cross_entropy(logit):
    parts = losses.loss_parts(judged(logit=logit), truth(), torch.ones(N), SETTINGS)
    # With a second sigmoid it would lie between 3 ln(1 + 1/e) and 3 ln 2, whatever the logit.
    assert float(parts["adversarial"]) == pytest.approx(3 * math.log1p(math.exp(-logit)), rel=1e-5)


def test_the_discriminator_gives_odds_beyond_what_a_sigmoid_can(networks, batch):
    discriminator = networks["discriminator"].eval()
    with torch.no_grad():
        logits = [discriminator(factor * batch["image"]).logit for factor in (1.0, 1e4)]
    discriminator.train()
    assert float(torch.stack(logits).abs().max()) > 1


def test_generated_showers_are_detached_in_the_discriminators_step(without_gradients, batch):
    loss, _ = task.fake_loss(SETTINGS, without_gradients, batch, 0)
    loss.backward()
    assert gradients(without_gradients["generator"]) == []
    assert len(gradients(without_gradients["discriminator"])) > 0


def test_the_generators_step_leaves_the_discriminator_without_gradient(without_gradients, batch):
    loss, _ = task.generator_loss(SETTINGS, without_gradients, batch, 0)
    loss.backward()
    assert gradients(without_gradients["discriminator"]) == []
    found = gradients(without_gradients["generator"])
    assert len(found) == len(list(without_gradients["generator"].parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in found)
    assert all(weight.requires_grad for weight in without_gradients["discriminator"].parameters())


def test_percentages_are_of_the_truth():
    found = judged()._replace(energy=torch.tensor([0.5, 0.5]), energy_sum=torch.tensor([3.0, 3.0]))
    parts = losses.loss_parts(found, truth(), torch.ones(N), SETTINGS)
    assert float(parts["energy"]) == pytest.approx(0.1 * 50)
    assert float(parts["energy_sum"]) == pytest.approx(0.1 * 200)
    assert float(parts["angle"]) == 0


def test_each_sum_is_held_against_its_own_shower():
    sums = torch.tensor([1.0, 100.0])
    found = judged()._replace(energy_sum=sums)
    parts = losses.loss_parts(found, truth() | {"energy_sum": sums}, torch.ones(N), SETTINGS)
    assert float(parts["energy_sum"]) == 0
    with pytest.raises(ValueError, match=r"energy_sum has shape \(2, 1, 1\), expected \(2,\)"):
        losses.loss_parts(found, truth() | {"energy_sum": sums[:, None, None]}, sums, SETTINGS)


def test_weights_of_the_loss_are_the_published_ones():
    found = judged()._replace(angle_rad=torch.full((N,), 1.2))
    parts = losses.loss_parts(found, truth(), torch.ones(N), SETTINGS)
    assert float(parts["angle"]) == pytest.approx(25 * 0.2)
    assert float(parts["adversarial"]) == pytest.approx(3 * math.log(2))


def test_about_one_label_of_twenty_is_flipped():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        found = losses.labels(10_000, 1.0, flipped=SETTINGS.replace(flipped=0.05).flipped, device=CPU)
    # Five standard deviations of 10,000 throws.
    assert float((found == 0).double().mean()) == pytest.approx(0.05, abs=0.011)
    assert set(found.unique().tolist()) == {0.0, 1.0}


CPU = torch.device("cpu")


def track(theta_deg, *, cell_per_layer=1.0, layers=25):
    """Energy of equal layers on a line through the middle, shared by the two nearest cells."""
    cells = torch.zeros(1, 51, 51, 25, dtype=torch.float64)
    for layer in range(layers):
        place = 25 + (layer - 12) * math.tan(math.radians(theta_deg)) / cell_per_layer
        low = math.floor(place)
        cells[0, 25, low, layer], cells[0, 25, low + 1, layer] = 1 - (place - low), place - low
    return cells


@pytest.mark.parametrize("theta_deg", [0.0, 10.0, 30.0, -30.0])
@pytest.mark.parametrize("cell_per_layer", [1.0, 5.1 / 3.3])
def test_the_angle_of_a_straight_track_is_its_angle_to_the_face(theta_deg, cell_per_layer):
    found = angle_rad(track(theta_deg, cell_per_layer=cell_per_layer), cell_per_layer=cell_per_layer)
    # The layer of the centre itself has no direction and counts as straight: 12.5 of 312.5.
    expected = 90 - theta_deg * (1 - 12.5 / 312.5)
    assert math.degrees(float(found)) == pytest.approx(expected, abs=1e-3)


def test_a_shower_without_energy_has_no_angle_and_no_broken_gradient():
    cells = torch.zeros(1, 51, 51, 25, requires_grad=True)
    found = angle_rad(cells)
    found.sum().backward()
    assert found.tolist() == [NO_ANGLE_RAD]
    assert cells.grad is not None
    assert bool(cells.grad.isfinite().all())


def test_an_empty_layer_has_a_finite_gradient():
    cells = track(20.0, layers=20).requires_grad_()
    angle_rad(cells).sum().backward()
    assert cells.grad is not None
    assert bool(cells.grad.isfinite().all())


def test_running_statistics_keep_99_percent(networks):
    norms = [part for part in Generator().modules() if isinstance(part, nn.BatchNorm3d)]
    norms += [part for part in networks["discriminator"].modules() if isinstance(part, nn.BatchNorm3d)]
    assert [norm.momentum for norm in norms] == [0.01] * 8


def test_the_padding_of_even_kernels_is_that_of_the_same_size():
    convolution = nn.Conv3d(1, 2, (5, 6, 6))
    cells = torch.randn(1, 1, 9, 9, 9, generator=torch.Generator().manual_seed(5))
    padding = Discriminator().features[0]
    with pytest.warns(UserWarning, match="even kernel"):
        same = functional.conv3d(cells, convolution.weight, convolution.bias, padding="same")
    torch.testing.assert_close(convolution(padding(cells)), same, rtol=1e-5, atol=1e-6)


def test_an_image_turns_back_into_its_shower():
    rng = np.random.default_rng(6)
    shower = np.where(rng.random((51, 51, 25)) < 0.1, 0.02 + rng.exponential(1.0, (51, 51, 25)), 0)
    made = images.image(shower.astype(np.float32), SETTINGS)
    back = images.cells_mev(made[None], SETTINGS, threshold_kev=15.15)
    np.testing.assert_allclose(back[0], shower, rtol=1e-5)


def test_cells_below_the_lowest_are_emptied_and_the_others_raised_to_a_power():
    # 50 times the energy in GeV, as 3DGAN's files have it: 1e-4 is 2 keV.
    shower = np.zeros((51, 51, 25), dtype=np.float32)
    shower[0, 1, 2], shower[3, 4, 5] = 1.9e-3, 20.0
    made = images.image(shower, SETTINGS)
    assert made[0, 1, 0, 2] == 0
    assert made[0, 4, 3, 5] == pytest.approx(1.0)
    assert images.image(2 * shower, SETTINGS)[0, 4, 3, 5] == pytest.approx(2**0.85)


def test_a_generated_cell_that_no_sensor_would_report_is_empty():
    made = np.zeros((1, 1, 51, 51, 25), dtype=np.float32)
    made[0, 0, 1, 2, 3], made[0, 0, 4, 5, 6] = (0.05 * np.array([0.015, 0.016])) ** 0.85
    back = images.cells_mev(made, SETTINGS, threshold_kev=15.15)
    assert np.argwhere(back).tolist() == [[0, 5, 4, 6]]


def test_an_inclination_between_the_axes_is_refused():
    with pytest.raises(ValueError, match="phi_deg = 45 deg must be 0 or 180 deg"):
        images.angle_to_face(np.array([0.0, 10.0]), np.array([10.0, 45.0]))


def test_cells_are_longer_across_than_along():
    assert images.cell_per_layer(CalorimeterParameters()) == pytest.approx(5.1 / 3.3)
