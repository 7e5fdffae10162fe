"""What the verbs of all twins share: the state, its calibration, drift, what-if."""

from physics_twins.twin.calibration import Calibration, parts_of_error
from physics_twins.twin.drift import Alarm, Call, Evidence, Number, Watch, long_run_scatter
from physics_twins.twin.evaluation import beside
from physics_twins.twin.state import Correlation, Range, TwinState, TwinStateError
from physics_twins.twin.whatif import AS_CALIBRATED, Answer, Asked, WhatIf, changed, what_if

__all__ = [
    "AS_CALIBRATED",
    "Alarm",
    "Answer",
    "Asked",
    "Calibration",
    "Call",
    "Correlation",
    "Evidence",
    "Number",
    "Range",
    "TwinState",
    "TwinStateError",
    "Watch",
    "WhatIf",
    "beside",
    "changed",
    "long_run_scatter",
    "parts_of_error",
    "what_if",
]
