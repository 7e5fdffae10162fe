"""Undo and redo of parameters: there and back, a drag as one step."""

from hypothesis import given
from hypothesis import strategies as st

from physics_twins.parameters import Parameters, field
from twin_panels.history import DRAG_S, History


class Two(Parameters):
    """Two numbers."""

    a: float = field(0.0, help="First")
    b: float = field(0.0, help="Second")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def history_of(*values: float) -> History[Two]:
    clock = Clock()
    history = History(Two(), clock=clock)
    for value in values:
        clock.now_s += 2 * DRAG_S
        history.record(Two(a=value))
    return history


def test_undo_and_redo_are_inverse():
    history = history_of(1.0, 2.0)
    assert [history.undo().a, history.undo().a] == [1.0, 0.0]
    assert [history.redo().a, history.redo().a] == [1.0, 2.0]
    assert (history.can_undo, history.can_redo) == (True, False)


@given(st.lists(st.integers(0, 3), max_size=20))
def test_all_steps_undone_are_the_beginning(values):
    history = history_of(*map(float, values))
    while history.can_undo:
        history.undo()
    assert history.here == Two()


def test_at_the_ends_nothing_happens():
    history = history_of(1.0)
    assert history.redo() == Two(a=1.0)
    assert [history.undo(), history.undo()] == [Two(), Two()]


def test_a_drag_is_one_step():
    clock = Clock()
    history = History(Two(), clock=clock)
    for n in range(1, 40):
        clock.now_s += 0.05
        history.record(Two(a=float(n)))
    assert history.undo() == Two()
    assert history.redo() == Two(a=39.0)


def test_another_parameter_is_another_step_however_fast():
    clock = Clock()
    history = History(Two(), clock=clock)
    history.record(Two(a=1.0))
    history.record(Two(a=1.0, b=1.0))
    assert history.undo() == Two(a=1.0)


def test_something_new_ends_what_could_be_redone():
    history = history_of(1.0, 2.0)
    history.undo()
    history.record(Two(b=5.0))
    assert not history.can_redo
    assert history.undo() == Two(a=1.0)


def test_a_slow_frame_does_not_end_a_drag():
    clock = Clock()
    history = History(Two(), clock=clock)
    for n in range(1, 4):
        history.record(Two(a=float(n)))
        clock.now_s += 5.0  # the frame
        history.rest()
        clock.now_s += 0.05
    assert history.undo() == Two()
