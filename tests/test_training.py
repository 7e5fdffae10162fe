import logging
import math
import signal
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from small_trainings import N_STEPS, SETTINGS, everything_random
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import Dataset

from physics_twins import checkpoints, datasets, random_states
from physics_twins.batches import Batches
from physics_twins.parameters import ParameterError
from physics_twins.training import Objective, Task, TrainingSettings, train

QUIET = {"progress": False, "seed": 1}


class Stopped(Exception):
    """A training that a test has broken off."""


def stopping(at):
    """Return what breaks off a training in the loss of a step, once."""
    todo = [at]

    def stop(step):
        if step in todo:
            todo.remove(step)
            raise Stopped

    return stop


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

    def accuracy(modules):
        return {"accuracy": (modules["net"](held_out[0]).argmax(1) == held_out[1]).double().mean()}

    objective = Objective(
        lambda modules, batch, step: nn.functional.cross_entropy(modules["net"](batch[0]), batch[1]),
        torch.optim.Adam(net.parameters(), lr=0.02),
    )
    watched = {"watch": "accuracy", "lower_is_better": False}
    return Task({"net": net}, {"net": objective}, data, accuracy, **watched)


def test_a_classifier_beats_the_best_straight_line(tmp_path):
    options = settings(200, batch_size=100, validate_every=50)
    straight = train(lambda: classifier(nn.Linear(2, 2)), options, folder=tmp_path / "line", **QUIET)
    layers = (nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    bent = train(lambda: classifier(*layers), options, folder=tmp_path / "net", **QUIET)
    assert straight.best_figures["accuracy"] < 0.65
    assert bent.best_figures["accuracy"] > 0.98


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
    options = settings(1200, batch_size=256, ema_decay=0.99)
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


def test_the_average_follows_the_formula(tmp_path):
    trained = train(line, settings(5, ema_decay=0.8), folder=tmp_path, **QUIET)
    weight = average = 0.8  # the first step: w -> w - 0.1 * 2 w
    for _ in range(4):
        weight *= 0.8
        average = 0.8 * average + 0.2 * weight
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


def test_the_learning_rate_falls_when_the_watched_figure_stays(tmp_path):
    build = partial(
        line,
        schedule=lambda optimizer: ReduceLROnPlateau(optimizer, patience=0, factor=0.1),
        validate=lambda modules: {"error": 1.0},
        watch="error",
    )
    trained = train(build, settings(4, validate_every=1), folder=tmp_path, **QUIET)
    assert trained.history["net_learning_rate"].values == pytest.approx([0.1, 0.1, 0.01, 0.001])


def watching(figures, **options):
    """A task whose validations return given figures in turn."""
    remaining = iter(figures)
    return partial(line, validate=lambda modules: {"error": next(remaining)}, watch="error", **options)


def test_it_stops_when_the_watched_figure_has_not_improved_and_gives_back_the_best(tmp_path):
    build = watching([3.0, 1.0, 2.0, math.nan, 0.0])
    options = settings(100, validate_every=2, patience=2)
    trained = train(build, options, folder=tmp_path, **QUIET)
    assert (trained.n_steps, trained.best_step, trained.stopped_early) == (8, 4, True)
    assert trained.best_figures == {"error": 1.0}
    assert trained.modules["net"].get_parameter("weight").item() == pytest.approx(0.8**4)


def test_the_figure_may_be_one_that_shall_be_large(tmp_path):
    build = watching([1.0, 3.0, 2.0], lower_is_better=False)
    assert train(build, settings(3, validate_every=1), folder=tmp_path, **QUIET).best_step == 2


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
    build = partial(line, validate=lambda modules: {"energy": 2.0}, units={"validation_energy": "GeV"})
    history = train(build, settings(4, validate_every=2), folder=tmp_path, **QUIET).history
    datasets.check_units(history)
    assert history["validation_energy"].attrs["units"] == "GeV"
    assert history["validation"].values.tolist() == [2, 4]
    assert history.attrs["seed"] == 1
    datasets.save(history, tmp_path / "history.nc")
    assert history.identical(datasets.open_dataset(tmp_path / "history.nc"))


# Stopping and going on.


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(everything_random, SETTINGS, folder=tmp_path_factory.mktemp("u"), **QUIET)


@pytest.mark.parametrize("at", [0, 7, N_STEPS - 1])
def test_a_stopped_training_ends_with_the_same_bits_and_the_same_history(undisturbed, tmp_path, at):
    build = partial(everything_random, stopping(at))
    with pytest.raises(Stopped):
        train(build, SETTINGS, folder=tmp_path, **QUIET)
    trained = train(build, SETTINGS, folder=tmp_path, **QUIET)
    assert trained.resumed_at == ((at,) if at else ())
    assert trained.weights_sha256 == undisturbed.weights_sha256
    assert trained.history.identical(undisturbed.history)


@pytest.mark.parametrize("forgotten", ["python", "python_gauss", "numpy", "numpy_gauss", "torch"])
def test_every_generator_counts(undisturbed, tmp_path, monkeypatch, forgotten):
    build = partial(everything_random, stopping(7))
    with pytest.raises(Stopped):
        train(build, SETTINGS, folder=tmp_path, **QUIET)
    restore = random_states.restore

    def forgetful(states, device):
        restore(states | {forgotten: random_states.capture()[forgotten]}, device)

    monkeypatch.setattr("physics_twins.training_state.random_states.restore", forgetful)
    with random_states.kept():
        random_states.seed_all(12)
        trained = train(build, SETTINGS, folder=tmp_path, **QUIET)
    assert trained.weights_sha256 != undisturbed.weights_sha256


def test_ctrl_c_ends_the_step_writes_a_checkpoint_and_is_passed_on(undisturbed, tmp_path, caplog):
    todo = [6]

    def press(step):
        if step in todo:
            signal.raise_signal(signal.SIGINT)
            todo.clear()

    options = SETTINGS.replace(checkpoint_s=1000.0)
    build = partial(everything_random, press)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(build, options, folder=tmp_path, **QUIET)
    assert signal.getsignal(signal.SIGINT) is handler
    assert "stopping after this step" in caplog.text
    caplog.set_level(logging.INFO)
    trained = train(build, options, folder=tmp_path, **QUIET)
    assert "resumed after step 7" in caplog.text
    assert trained.resumed_at == (7,)
    assert trained.weights_sha256 == undisturbed.weights_sha256


def test_a_second_ctrl_c_acts_at_once(tmp_path):
    def press(step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(partial(everything_random, press), SETTINGS, folder=tmp_path, **QUIET)
    assert list(tmp_path.glob("checkpoint-*")) == []


def test_a_finished_training_returns_at_once_what_was_trained(undisturbed, tmp_path):
    first = train(everything_random, SETTINGS, folder=tmp_path, **QUIET)
    build = partial(everything_random, stopping(0))
    again = train(build, SETTINGS, folder=tmp_path, **QUIET)
    assert again.weights_sha256 == first.weights_sha256 == undisturbed.weights_sha256
    assert again.history.identical(first.history)
    assert again.duration_s == first.duration_s > 0


def test_a_damaged_end_is_trained_again(undisturbed, tmp_path):
    train(everything_random, SETTINGS, folder=tmp_path, **QUIET)
    newest = max(tmp_path.glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    trained = train(everything_random, SETTINGS, folder=tmp_path, **QUIET)
    assert trained.resumed_at == (N_STEPS - 1,)
    assert trained.weights_sha256 == undisturbed.weights_sha256


def wider():
    task = everything_random()
    net = nn.Linear(9, 1)
    return Task({**task.modules, "other": net}, task.objectives, task.data, task.validate)


def with_identity():
    task = everything_random()
    return Task(task.modules, task.objectives, task.data, task.validate, identity="ab12")


@pytest.mark.parametrize(
    ("build", "changes", "seed", "words"),
    [
        (everything_random, {"clip_norm": 2.0}, 1, "setting clip_norm is 1.0 there, 2.0 here"),
        (everything_random, {}, 2, "setting seed is 1 there, 2 here"),
        (wider, {}, 1, r"weight other\.weight is None there, 'float32 \(1, 9\)' here"),
        (with_identity, {}, 1, "task identity is '' there, 'ab12' here"),
    ],
)
def test_a_folder_of_another_training_is_refused(tmp_path, build, changes, seed, words):
    train(everything_random, SETTINGS, folder=tmp_path, **QUIET)
    with pytest.raises(ValueError, match=f"holds another training: {words}; give another folder"):
        train(build, SETTINGS.replace(**changes), seed=seed, folder=tmp_path, progress=False)


def test_how_it_runs_may_change_when_it_goes_on(undisturbed, tmp_path):
    build = partial(everything_random, stopping(7))
    with pytest.raises(Stopped):
        train(build, SETTINGS, folder=tmp_path, **QUIET)
    other = SETTINGS.replace(checkpoint_s=50.0, accelerator="cpu")
    assert train(build, other, folder=tmp_path, **QUIET).weights_sha256 == undisturbed.weights_sha256


def test_the_log_goes_on_where_the_checkpoint_was(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    build = partial(everything_random, stopping(7))
    options = SETTINGS.replace(checkpoint_s=0.0)
    with pytest.raises(Stopped):
        train(build, options, folder=tmp_path, **QUIET)
    train(build, options, folder=tmp_path, **QUIET)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [event.step for event in log.Scalars("net/loss")] == list(range(1, N_STEPS + 1))


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    train(everything_random, SETTINGS, folder=tmp_path, **QUIET)
    state = checkpoints.read_newest(tmp_path)
    kinds = {"modules", "averages", "optimizers", "schedulers", "precision", "random", "history"}
    assert kinds <= set(state)
    assert state["progress"]["step"] == N_STEPS


# Data.


class Noisy(Dataset):
    """Items with random numbers of their own."""

    def __len__(self):
        return 20

    def __getitem__(self, number):
        return number, torch.rand(1), float(np.random.normal())  # noqa: NPY002


def first(batches, step, n):
    iterator = batches.starting_at(step)
    return [next(iterator) for _ in range(n)]


def test_each_epoch_brings_every_item_once_in_another_order():
    batches = Batches(torch.arange(20), batch_size=5, seed=3)
    epochs = [torch.cat(first(batches, 4 * n, 4)).tolist() for n in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("step", [1, 4, 6])
@pytest.mark.parametrize("processes", [0, 1])
def test_any_batch_can_be_the_first(step, processes):
    through = first(Batches(Noisy(), batch_size=5, seed=3), 0, 8)[step]
    torch.rand(3)
    (alone,) = first(Batches(Noisy(), batch_size=5, seed=3, processes=processes), step, 1)
    assert all(map(torch.equal, alone, through))


def test_batches_leave_the_global_generators_alone():
    random_states.seed_all(1)
    expected = torch.rand(1)
    random_states.seed_all(1)
    first(Batches(Noisy(), batch_size=5, seed=3), 0, 2)
    assert torch.rand(1) == expected


def test_shares_of_several_processes_make_up_the_batch():
    whole = Batches(torch.arange(20), batch_size=6, seed=3).items(2)
    shares = [
        Batches(torch.arange(20), batch_size=6, seed=3, rank=n, world_size=3).items(2) for n in range(3)
    ]
    assert sorted(chain(*shares)) == sorted(whole)
    assert {len(share) for share in shares} == {2}


def test_data_keep_their_form():
    pair = (torch.arange(8), torch.arange(8) * 2)
    (one,) = first(Batches(pair, batch_size=4, seed=1), 0, 1)
    (named,) = first(Batches(dict(zip("ab", pair, strict=True)), batch_size=4, seed=1), 0, 1)
    assert torch.equal(one[0] * 2, one[1])
    assert torch.equal(named["a"], one[0])
    assert torch.equal(named["b"], one[1])


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (torch.zeros(0), {}, "equally many everywhere"),
        ((torch.zeros(4), torch.zeros(5)), {}, r"found \[4, 5\]"),
        (torch.zeros(3), {}, "batch_size = 4 is more than all 3 items"),
        (torch.zeros(9), {"world_size": 3}, "cannot be shared by 3 devices"),
    ],
)
def test_data_that_make_no_batches_are_refused(data, options, words):
    with pytest.raises(ValueError, match=words):
        Batches(data, batch_size=4, seed=1, **options)
