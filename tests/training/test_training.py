import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from small_trainings import QUIET, SETTINGS, everything_random
from torch import nn
from torch.optim.lr_scheduler import StepLR
from units import check_units

from physics_twins.data import open_dataset, save
from physics_twins.parameters import ParameterError
from physics_twins.training import Objective, Task, TrainingSettings, random_states, train


def line(values=None, *, optimizer=None, schedule=None, **options):
    """A task with one weight w, by default with the loss w², or with `values` of the loss by step."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.1)

    def loss(modules, batch, step):
        square = modules["net"].weight.square().sum()
        return square if values is None else square * 0 + values[step]

    objective = Objective(loss, optimizer, schedule(optimizer) if schedule else None)
    return Task({"net": net}, {"net": objective}, **options)


def settings(n_steps, **changes):
    # One thread: the tests' products are small, and other tests may use the other cores.
    return TrainingSettings(max_steps=n_steps, checkpoint_s=1000.0, cpu_threads=1, **changes)


# What it learns.


def rings(n, seed):
    """Points on two rings, one inside the other; no straight line parts them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 1 + label + rng.normal(0, 0.1, n)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(label)


def classifier(*layers):
    data, held_out = rings(1000, 0), rings(1000, 1)
    net = nn.Sequential(*layers)

    def wrong(modules):
        return {"wrong": (modules["net"](held_out[0]).argmax(1) != held_out[1]).double().mean()}

    objective = Objective(
        lambda modules, batch, step: nn.functional.cross_entropy(modules["net"](batch[0]), batch[1]),
        torch.optim.Adam(net.parameters(), lr=0.02),
    )
    return Task({"net": net}, {"net": objective}, data, wrong, watch="wrong")


def test_a_classifier_beats_the_best_straight_line(tmp_path):
    options = settings(200, batch_size=100, validate_every=50)
    straight = train(lambda: classifier(nn.Linear(2, 2)), options, folder=tmp_path / "line", **QUIET)
    layers = (nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    bent = train(lambda: classifier(*layers), options, folder=tmp_path / "net", **QUIET)
    assert straight.best_figures["wrong"] > 0.35
    assert bent.best_figures["wrong"] < 0.02


def adversaries(n_critic_steps=1):
    """A generator that scales and shifts noise, and a critic that sees samples of N(3, 0.5)."""
    generator, critic = nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1))
    data = 3 + 0.5 * torch.randn(4096, 1)
    softplus = nn.functional.softplus

    def critic_loss(modules, real, step):
        fake = modules["generator"](torch.randn_like(real)).detach()
        loss = softplus(-modules["critic"](real)).mean() + softplus(modules["critic"](fake)).mean()
        return loss, {"real_mean": real.mean()}

    def generator_loss(modules, real, step):
        return softplus(-modules["critic"](modules["generator"](torch.randn_like(real)))).mean()

    adam = partial(torch.optim.Adam, betas=(0.5, 0.9))
    objectives = {
        "critic": Objective(critic_loss, adam(critic.parameters(), lr=0.02)),
        "generator": Objective(
            generator_loss, adam(generator.parameters(), lr=0.01), every=n_critic_steps
        ),
    }
    return Task({"generator": generator, "critic": critic}, objectives, data)


def test_adversaries_learn_mean_and_width_of_a_gaussian(tmp_path):
    options = settings(600, batch_size=256, ema_decay=0.99)
    trained = train(adversaries, options, folder=tmp_path, **QUIET)
    generator = trained.modules["generator"]
    assert isinstance(generator, nn.Linear)
    # The data's own error is 0.01; adversaries go round their goal, which the average damps.
    assert generator.bias.item() == pytest.approx(3, abs=0.15)
    assert abs(generator.weight.item()) == pytest.approx(0.5, abs=0.15)


def test_each_adversary_moves_by_its_own_optimiser_and_at_its_own_pace(tmp_path):
    trained = train(partial(adversaries, 3), settings(7), folder=tmp_path, **QUIET)
    moved = trained.history["generator_loss"].dropna("step")["step"].values.tolist()
    assert moved == [3, 6]
    assert trained.history["critic_loss"].notnull().all()
    assert trained.history["critic_real_mean"].mean() == pytest.approx(3, abs=0.2)


# A Gaussian in two dimensions with correlation; its integral is known.
PRECISION = torch.tensor([[2.0, 0.8], [0.8, 1.0]])
LOG_Z = math.log(2 * math.pi) - 0.5 * math.log(2.0 - 0.8**2)


class Affine(nn.Module):
    """A flow of one step: x = L z + m."""

    def __init__(self):
        super().__init__()
        self.lower, self.shift = nn.Parameter(torch.eye(2)), nn.Parameter(torch.ones(2))

    def forward(self, n):
        z = torch.randn(n, 2)
        lower = self.lower.tril()
        log_volume = lower.diagonal().abs().log().sum()
        log_q = -z.square().sum(1) / 2 - math.log(2 * math.pi) - log_volume
        return z @ lower.T + self.shift, log_q


def flow(n=256):
    net = Affine()

    def log_weights(modules, n):
        x, log_q = modules["flow"](n)
        return -((x @ PRECISION) * x).sum(1) / 2 - log_q

    def log_z(modules):
        return {"log_z": log_weights(modules, 1000).exp().mean().log()}

    objective = Objective(
        lambda modules, batch, step: -log_weights(modules, n).mean(),
        torch.optim.Adam(net.parameters(), lr=0.03),
    )
    return Task({"flow": net}, {"flow": objective}, validate=log_z)


def test_a_flow_finds_a_known_integral_without_data(tmp_path):
    trained = train(flow, settings(400), folder=tmp_path, **QUIET)
    # The family holds the target, so that at the optimum every sample has the weight Z.
    assert trained.history["validation_log_z"][-1] == pytest.approx(LOG_Z, abs=0.01)
    assert -trained.history["flow_loss"][-1] == pytest.approx(LOG_Z, abs=0.01)


# What the loop does.


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_the_average_follows_the_formula_which_forgets_faster_at_first(tmp_path, decay):
    trained = train(line, settings(5, ema_decay=decay), folder=tmp_path, **QUIET)
    weight = average = 0.8  # the first step: w -> w - 0.1 * 2 w
    for n in range(1, 5):
        weight *= 0.8
        kept = min(decay, (1 + n) / (10 + n))
        average = kept * average + (1 - kept) * weight
    assert trained.modules["net"].get_parameter("weight").item() == pytest.approx(average, rel=1e-6)


def test_a_long_gradient_is_cut_to_its_norm(tmp_path):
    trained = train(line, settings(1, clip_norm=0.5), folder=tmp_path, **QUIET)
    # The gradient 2 w = 2 is cut to 0.5: w goes from 1 to 0.95.
    assert trained.modules["net"].get_parameter("weight").item() == pytest.approx(0.95)
    assert trained.history["net_gradient_norm"].values == pytest.approx([2.0])


def test_the_learning_rate_follows_its_schedule_through_a_stop(tmp_path):
    build = partial(line, schedule=lambda optimizer: StepLR(optimizer, 2, gamma=0.5))
    trained = train(build, settings(6), folder=tmp_path, **QUIET)
    expected = [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    assert trained.history["net_learning_rate"].values == pytest.approx(expected)


def watching(figures, **options):
    """A task whose validations return given figures in turn."""
    remaining = iter(figures)
    return partial(line, validate=lambda modules: {"error": next(remaining)}, watch="error", **options)


def test_it_stops_when_the_watched_figure_has_not_improved_and_gives_back_the_best(tmp_path):
    build = watching([3.0, 1.0, 2.0, math.nan, 0.0])
    options = settings(100, validate_every=2, patience=2)
    trained = train(build, options, folder=tmp_path, **QUIET)
    assert (trained.n_steps, trained.best_step) == (8, 4)
    assert trained.best_figures == {"error": 1.0}
    assert trained.modules["net"].get_parameter("weight").item() == pytest.approx(0.8**4)


def test_validation_does_not_change_what_is_trained(tmp_path):
    often, seldom = (SETTINGS.replace(validate_every=n, checkpoint_s=1000.0) for n in (1, 1000))
    a = train(everything_random, often, folder=tmp_path / "often", **QUIET)
    b = train(everything_random, seldom, folder=tmp_path / "seldom", **QUIET)
    assert a.weights_sha256 == b.weights_sha256


def test_the_seed_alone_decides_and_the_callers_generators_stay(tmp_path):
    options = SETTINGS.replace(checkpoint_s=1000.0)
    hashes = []
    for n, seed in enumerate((1, 1, 2)):
        random_states.seed_all(n)
        expected = torch.rand(1)
        random_states.seed_all(n)
        trained = train(everything_random, options, seed=seed, folder=tmp_path / str(n), progress=False)
        hashes.append(trained.weights_sha256)
        assert torch.rand(1) == expected
    assert hashes[0] == hashes[1] != hashes[2]


def test_mixed_precision_changes_little_and_something(tmp_path):
    full = SETTINGS.replace(checkpoint_s=1000.0, clip_norm=0.0)
    a = train(everything_random, full, folder=tmp_path / "full", **QUIET).history["net_loss"]
    mixed = full.replace(precision="bf16-mixed")
    b = train(everything_random, mixed, folder=tmp_path / "mixed", **QUIET).history["net_loss"]
    assert 0 < abs(a - b).max() < 0.02  # bfloat16 has 8 bits: 0.4 %


def test_a_loss_that_is_not_finite_stops_with_its_name_and_step(tmp_path):
    build = partial(line, [1.0, 2.0, math.nan, 1.0, 1.0])
    with pytest.raises(FloatingPointError, match="net_loss is nan at step 3"):
        train(build, settings(5), folder=tmp_path, **QUIET)
    assert list(tmp_path.glob("checkpoint-*")) == []


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"objectives": {}}, "at least one objective"),
        ({"watch": "error"}, "needs a function validate"),
    ],
)
def test_a_task_that_cannot_be_trained_is_refused(task, words):
    good = line()
    with pytest.raises(ValueError, match=words):
        Task(**{"modules": good.modules, "objectives": good.objectives} | task)


def test_a_watched_figure_that_is_never_computed_is_named(tmp_path):
    build = partial(line, validate=lambda modules: {"error": 1.0}, watch="eror")
    with pytest.raises(ValueError, match="returned error, and not the watched 'eror'"):
        train(build, settings(1), folder=tmp_path, **QUIET)


def test_a_setting_outside_its_range_names_its_unit():
    with pytest.raises(ParameterError, match=r"checkpoint_s = -1\.0 s is outside its range"):
        TrainingSettings(checkpoint_s=-1.0)


def test_the_history_has_units_and_is_saved_unchanged(tmp_path):
    build = partial(line, validate=lambda modules: {"energy": 2.0})
    history = train(build, settings(4, validate_every=2), folder=tmp_path, **QUIET).history
    check_units(history)
    assert history["validation_energy"].attrs["units"] == "1"
    assert history["validation"].values.tolist() == [2, 4]
    assert history.attrs["seed"] == 1
    save(history, tmp_path / "history.nc")
    assert history.identical(open_dataset(tmp_path / "history.nc"))


def test_settings_are_refused_without_loading_torch():
    code = "import sys; from physics_twins.training.settings import *;"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
