"""Sweeps and studies, the points that they take, and what their reports show."""

from .points import evenly as evenly
from .points import grid as grid
from .points import sobol as sobol
from .points import with_seeds as with_seeds
from .report import facts as facts
from .report import failures as failures
from .report import history as history
from .report import plot as plot
from .study import Study as Study
from .study import StudyChoice as StudyChoice
from .study import tune as tune
from .sweep import Sweep as Sweep
from .sweep import SweepChoice as SweepChoice
from .sweep import run as run
from .tasks import find_task as find_task
