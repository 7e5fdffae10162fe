"""A pulse of a telescope's file, to be put behind a panel's sliders and fitted by hand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d

from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.infer import excerpt
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.searching.dedispersion import dedispersed, dedispersed_series

MAX_CHANNELS = 256


@dataclass(frozen=True)
class Recording:
    """The strongest pulse of a file at one dispersion measure.

    Attributes:
        path: The file.
        arrival_s: When the pulse arrives at the highest frequency, from the file's start.
        data: What was recorded around it, averaged to what a screen shows: `data` (time, frequency).
    """

    path: Path
    arrival_s: float
    data: xr.Dataset

    def beside(self, pulse: xr.Dataset, dm_pc_cm3: float) -> xr.Dataset:
        """Return the recording with its dedispersed profile, and a simulated pulse's on its times.

        Args:
            pulse: From `simulate_pulse`, of the same band; its noise is the unit of its profile.
            dm_pc_cm3: At which the recording is summed.
        """
        step_s, simulated_s = (each.attrs["sampling_time_s"] for each in (self.data, pulse))
        truth = dedispersed(pulse, dm_pc_cm3, variable="pulses").values
        since_s = pulse["time"].values - float(pulse["pulse_time_s"][0])
        here_s = self.data["time"].values - self.arrival_s
        # Noise averages with the root of the time, the pulse does not.
        truth = np.interp(here_s, since_s, truth, left=0, right=0) * np.sqrt(step_s / simulated_s)
        made = {
            "profile": dedispersed(self.data, dm_pc_cm3).variable,
            "true_profile": ("time", truth),
            "pulse_time_s": ("pulse", [self.arrival_s]),
            "pulse_snr_ideal": pulse["pulse_snr_ideal"].variable,
        }
        told = {name: pulse.attrs[name] for name in ("dm_pc_cm3", "width_ms")}
        return self.data.assign(made).assign_attrs(told)


def read(
    path: str | Path, parameters: ObservationParameters, *, duration_s: float, max_spectra: int
) -> tuple[Recording, ObservationParameters]:
    """Return a file's strongest pulse near a dispersion measure, and the parameters in its band.

    The whole file is read once, in a stream.

    Args:
        path: In any format that `open_observation` knows.
        parameters: Their DM is that at which the pulse is sought.
        duration_s: How much of the file is shown; the pulse arrives after a tenth of it.
        max_spectra: What is longer is averaged.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, of no known format, or of a band that no parameter allows.
    """
    path = Path(path).expanduser().absolute()
    with open_observation(path) as reader:
        frequency_mhz = np.sort(reader.header.frequency_mhz)
    step_mhz = float(frequency_mhz[1] - frequency_mhz[0]) if len(frequency_mhz) > 1 else 0.0
    series = dedispersed_series(path, parameters.dm_pc_cm3)
    step_s = float(series["time"][1] - series["time"][0])
    width = max(1, round(1e-3 * parameters.width_ms / step_s))
    arrival_s = float(series["time"][int(uniform_filter1d(series.values, width).argmax())])
    data = excerpt(path, arrival_s - 0.1 * duration_s, duration_s)[["data"]]
    n_time = max(1, data.sizes["time"] // max_spectra)
    n_channels = -(-data.sizes["frequency"] // MAX_CHANNELS)
    shown = data.coarsen(time=n_time, frequency=n_channels, boundary="trim").mean()
    step_s = n_time * float(data.attrs["sampling_time_s"])
    shown = shown.assign_attrs(data.attrs | {"sampling_time_s": step_s})
    band = parameters.replace(
        centre_frequency_mhz=float(frequency_mhz.mean()),
        bandwidth_mhz=step_mhz * len(frequency_mhz),
        n_channels=shown.sizes["frequency"],
        sampling_time_us=round(1e6 * step_s, 3),
    )
    return Recording(path, arrival_s, shown), band
