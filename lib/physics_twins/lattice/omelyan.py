"""The integrator of all trajectories of molecular dynamics."""

from typing import Any

import numba
import numpy as np

# Omelyan, Mryglod, Folk 2003, Comput. Phys. Commun. 151, 272: smallest error of second order.
OMELYAN = 0.1931833275037836


@numba.njit(cache=True, nogil=True)
def kicks(n_steps: int, step: float) -> Any:
    """Return how long the force acts each time, (2 n_steps + 1,); fields move for half a step between.

    Args:
        n_steps: Steps of the trajectory.
        step: Length of one.
    """
    times = np.empty(2 * n_steps + 1)
    times[::2] = 2 * OMELYAN * step
    times[1::2] = (1 - 2 * OMELYAN) * step
    times[0] = times[-1] = OMELYAN * step
    return times
