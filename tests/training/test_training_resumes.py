import logging
import signal
from functools import partial

import pytest
from small_trainings import N_STEPS, QUIET, SETTINGS, Stopped, everything_random, stopping
from torch import nn

from physics_twins.training import Task, checkpoints, random_states, train


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


@pytest.mark.parametrize("forgotten", ["python", "numpy", "torch"])
def test_every_generator_counts(undisturbed, tmp_path, monkeypatch, forgotten):
    build = partial(everything_random, stopping(7))
    with pytest.raises(Stopped):
        train(build, SETTINGS, folder=tmp_path, **QUIET)
    restore = random_states.restore

    def forgetful(states, device):
        restore(states | {forgotten: random_states.capture()[forgotten]}, device)

    monkeypatch.setattr("physics_twins.training.training_state.random_states.restore", forgetful)
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
        (wider, {}, 1, r"weight other\.weight is None there, '\(1, 9\) torch\.float32' here"),
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
