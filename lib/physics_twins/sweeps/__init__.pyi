"""Sweeps and studies, the points that they take, and what their reports show."""

from .points import grid as grid
from .points import sobol as sobol
from .study import Study as Study
from .study import StudyChoice as StudyChoice
from .study import tune as tune
from .sweep import Sweep as Sweep
from .sweep import SweepChoice as SweepChoice
from .sweep import run as run
from .tasks import find_task as find_task
