"""What is kept of an observation: pieces as files of its own format, and what is measured of pulses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from physics_twins.data import Estimate
from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.fitting.pulse_fit import PulseFit, fit_pulse
from physics_twins.pulsar.formats.observation_file import ObservationReader
from physics_twins.pulsar.formats.spectra import Spectra
from physics_twins.pulsar.streams.keeping import Decision


def write_piece(source: Spectra, folder: Path, start: int, stop: int) -> Path:
    """Write spectra `start` to `stop` and return the file.

    PSRFITS stays PSRFITS, with its values as 32-bit numbers; every other format and datasets become
    SIGPROC.
    """
    suffix = source.source.suffix if isinstance(source.source, ObservationReader) else ".fil"
    stem = source.path.stem if source.path else "piece"
    path = folder / f"{stem}_{start:012d}{suffix}"
    header = source.header_from(start)
    # That keyword says something of the whole file.
    others = tuple((name, value) for name, value in header.others if name != "rawdatafile")
    n_bits = header.n_bits if source.raw(start, 1).dtype.kind == "u" else 32
    with open_writer(path, replace(header, n_bits=n_bits, others=others)) as file:
        source.copy_to(file, start, stop)
    return path


# So much before a piece is read with it, for each channel's level and the noise.
BEFORE_S = 0.5


def measure_pulse(surroundings: xr.Dataset, decision: Decision) -> dict[str, Any]:
    """Return the parameters of a pulse, each with its 68 % interval.

    Scattering is not told from width: of a scattered pulse, `width_ms` is that of the best Gaussian,
    and `p_value` is low.

    Args:
        surroundings: With `data` (time, frequency), the piece and what is beside it.
        decision: The frame of the pulse.

    Returns:
        `dm_pc_cm3`, `width_ms`, `time_s` and `snr`, each with `value`, `low`, `high` and `unit`, and
        `p_value`; only `problem` where nothing can be fitted.
    """
    # The filter that found it is as wide as the pulse at half its height.
    start = decision.dm_pc_cm3, decision.time_s, 1e-3 * decision.width_ms
    try:
        fit = fit_pulse(surroundings, *start)
        return {name: each.model_dump() for name, each in _estimates(fit).items()} | {
            "p_value": fit.p_value
        }
    except ValueError as error:
        return {"problem": str(error)}


def _estimates(fit: PulseFit) -> dict[str, Estimate]:
    pulse = fit.pulses.isel(pulse=0)
    own = {"time_s": ("time_error_s", "s"), "snr": ("snr_error", "1")}
    return fit.parameters | {
        name: Estimate.of(pulse[name].item(), pulse[error].item(), unit)
        for name, (error, unit) in own.items()
    }
