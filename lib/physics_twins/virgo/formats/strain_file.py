"""What files of strain have in common: a header for each channel, and one kind of error."""

from dataclasses import dataclass

import numpy as np

LONGEST_SAMPLES = 1 << 36
_FASTEST_HZ = 1 << 20
_LATEST_S = 1e10  # GPS time of the year 2297


class StrainFileError(ValueError):
    """A file that is no sound strain, segments or triggers; the message names file and field."""


@dataclass(frozen=True)
class Header:
    """What a file says about one of its channels.

    Attributes:
        name: Of the channel; `strain` is that of a file in GWOSC's layout.
        unit: Of its values.
        sample_rate_hz: Of it.
        start_s: GPS time of the first sample.
        n_samples: How many samples.
    """

    name: str
    unit: str
    sample_rate_hz: float
    start_s: float
    n_samples: int

    def __post_init__(self) -> None:
        for name, value, highest in (
            ("sample rate", self.sample_rate_hz, _FASTEST_HZ),
            ("start", self.start_s, _LATEST_S),
            ("number of samples", self.n_samples, LONGEST_SAMPLES),
        ):
            if not (np.isfinite(value) and 0 <= value <= highest) or (name != "start" and value == 0):
                raise StrainFileError(
                    f"{self.name}: {name} = {value:g} must lie between 0 and {highest:g}"
                )

    @property
    def stop_s(self) -> float:
        """GPS time after the last sample."""
        return self.start_s + self.n_samples / self.sample_rate_hz

    def index(self, time_s: float) -> int:
        """Return the sample nearest to a GPS time, beyond the ends too."""
        return round((time_s - self.start_s) * self.sample_rate_hz)
