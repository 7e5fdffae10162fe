"""Draw showers from the flow's ONNX file, without torch: for programs that the flow is carried to.

```python
session = draw_onnx.open_session(load_flow().address)
cells_mev = draw_onnx.draw(session, [10.0, 50.0], theta_deg=0.0, absorber_mm=1.4, seed=1)
```
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics_twins import models

if TYPE_CHECKING:
    import onnxruntime

NAME = "calorimeter-flow"
INPUTS = ("energy_gev", "theta_deg", "absorber_mm", "uniforms")
SHOWERS_AT_ONCE = 256


def open_session(address: str = NAME) -> "onnxruntime.InferenceSession | None":
    """Return onnxruntime's session for a saved flow; None where it was saved without an ONNX file.

    Raises:
        ModelError: There is no such model, or its ONNX file is unsound.
    """
    model = models.find(address)
    return None if model.manifest.onnx is None else model.onnx_session()


def draw(
    session: "onnxruntime.InferenceSession",
    energy_gev: ArrayLike,
    *,
    theta_deg: ArrayLike,
    absorber_mm: ArrayLike,
    seed: int,
) -> NDArray[np.float32]:
    """Return cells in MeV, shape (shower, layer, angle, ring).

    They are drawn as well as those of `infer.generate`, but are other showers: its random numbers are
    others. Nothing is refused here that lies outside the trained range.

    Args:
        session: From `open_session`.
        energy_gev: Energy of each electron, shape (shower,).
        theta_deg: Angle to the calorimeter's axis, shape (shower,) or one for all.
        absorber_mm: Thickness of the absorbers, shape (shower,) or one for all.
        seed: Of the random numbers.

    Raises:
        ValueError: Shapes differ, an energy is not positive, or something is not finite.
    """
    known = np.broadcast_arrays(np.atleast_1d(energy_gev), theta_deg, absorber_mm)
    columns = [np.ascontiguousarray(each, dtype=np.float32) for each in known]
    for name, values in zip(INPUTS, columns, strict=False):
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(f"{name} must hold one finite number per shower, shape {values.shape}")
    if not (columns[0] > 0).all():
        raise ValueError(f"energy_gev = {columns[0].min():g} GeV must be above 0")
    numbers = uniforms(len(columns[0]), _n_uniforms(session), seed=seed)
    parts = [slice(n, n + SHOWERS_AT_ONCE) for n in range(0, len(numbers), SHOWERS_AT_ONCE)]
    return np.concatenate([run(session, *(c[p] for c in (*columns, numbers))) for p in parts])


def uniforms(n_showers: int, n_each: int, *, seed: int) -> NDArray[np.float32]:
    """Return random numbers between 0 and 1, both excluded, shape (shower, number)."""
    drawn = np.random.default_rng(seed).random((n_showers, n_each), dtype=np.float32)
    return drawn.clip(2.0**-25, 1 - 2.0**-24)


def run(session: "onnxruntime.InferenceSession", *inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Return what a session makes of inputs in the order of `INPUTS`."""
    names = [node.name for node in session.get_inputs()]
    (cells,) = session.run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(cells)


def _n_uniforms(session: "onnxruntime.InferenceSession") -> int:
    return int(session.get_inputs()[-1].shape[1])
