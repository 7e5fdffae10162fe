"""The digitiser: how many counts the noise is given at 1 to 32 bits, and where it saturates."""

import numpy as np

# Step of a uniform quantiser, in standard deviations of the noise. 1 bit: only the sign is kept, so any
# step will do. 2 and 4 bits: the least distortion of Gaussian noise (J. Max 1960, IRE Trans. Inf.
# Theory 6, 7). 8 and 16 bits: as recorders set it, with headroom for bright pulses and interference.
STEP_SIGMA = {1: 1.0, 2: 0.9957, 4: 0.3352, 8: 1 / 16, 16: 1 / 256, 32: 1.0}
# Where the mean of the noise lies in the quantiser's range: below the middle, because signals only add.
MEAN = {1: 0.5, 2: 0.5, 4: 0.45, 8: 0.375, 16: 0.25, 32: 0.0}


def highest_count(n_bits: int) -> float:
    """Return the count at which the digitiser saturates; infinity where it stores floating point.

    >>> highest_count(2), highest_count(8), highest_count(32)
    (3.0, 255.0, inf)
    """
    return np.inf if n_bits == 32 else float(2**n_bits - 1)


def mean_count(n_bits: int) -> float:
    """Return the count that the mean of the noise is given.

    >>> mean_count(1), mean_count(8), mean_count(32)
    (0.5, 95.625, 0.0)
    """
    return 0.0 if n_bits == 32 else MEAN[n_bits] * highest_count(n_bits)


def sample_type(n_bits: int) -> type[np.generic]:
    """Return the type of array that holds the counts."""
    return {16: np.uint16, 32: np.float32}.get(n_bits, np.uint8)


def keeps_bandpass(n_bits: int) -> bool:
    """Return whether the bandpass stays in the data.

    With 8 bits or more it does, as in most recordings; with fewer, each channel is levelled first,
    since otherwise weak channels would fall between two steps.
    """
    return n_bits >= 8
