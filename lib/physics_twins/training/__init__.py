"""One visible training loop that survives any kill.

Nothing here loads torch before it is asked for, so that a wrong setting is refused at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from physics_twins.training.settings import TrainingSettings

if TYPE_CHECKING:
    from physics_twins.training.loop import Trained, submit, train
    from physics_twins.training.task import Objective, Task

__all__ = ["Objective", "Task", "Trained", "TrainingSettings", "submit", "train"]

_WHERE = {"Objective": "task", "Task": "task"}


def __getattr__(name: str) -> Any:
    """Return a name of the loop, which loads torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_WHERE.get(name, 'loop')}")
    return getattr(module, name)
