"""What a twin trains with."""

from .loop import Trained as Trained
from .loop import submit as submit
from .loop import train as train
from .settings import TrainingSettings as TrainingSettings
from .task import Objective as Objective
from .task import Task as Task
