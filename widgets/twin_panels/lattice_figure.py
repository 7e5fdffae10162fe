"""What the lattice's panel shows of a chain that has ended, as a figure for a notebook."""

from collections.abc import Sequence

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins import figures, lattice
from physics_twins.figures.style import FRAME, colour_bar, styled
from twin_panels.figures import PALETTE
from twin_panels.lattice import SCALE, SHOWN, Drawn


def figure_of(parameters: lattice.LatticeParameters, pieces: Sequence[Drawn]) -> hv.Layout:
    """Return the field, the number that is watched as it settles beside its exact value, the history.

    Args:
        parameters: Of the chain.
        pieces: From `lattice.drawn`.
    """
    last, (watched, name, words) = pieces[-1], SHOWN[parameters.theory]
    numbers = [each.watched(parameters.theory) for each in pieces]
    found = np.array([(each.estimate.value, each.estimate.error) for each in numbers])
    n = xr.Variable("n", [len(each.history) for each in pieces], {"long_name": "Measurements"})
    shape, about = ("number", "n"), {"units": "1", "long_name": words}
    means, errors = (
        xr.DataArray([v], {"number": ["so far"], "n": n}, shape, attrs=about) for v in found.T
    )
    known = lattice.exact.known(parameters)
    limits = {"exact": known[name]} if name in known else {}
    told = f"{words}: {numbers[-1].text.partition(',')[0]}"
    history = last.history.rename(watched).assign_attrs(long_name=watched.capitalize())
    course = figures.curves(means, errors, title=told, limits=limits, height=230)
    return hv.Layout([_field(parameters, last), course, figures.series(history, height=200)]).cols(1)


def _field(parameters: lattice.LatticeParameters, last: Drawn) -> hv.Image:
    shown = SCALE.get(parameters.theory, 1.0) * last.picture  # (t, x)
    axes = [hv.Dimension(name, label=f"{name}, in lattice spacings") for name in ("x", "t")]
    value = hv.Dimension("value", label="φ, flux / π, or Re tr P / N")
    places = [np.arange(size) + 0.5 for size in shown.shape[::-1]]
    size = " x ".join(map(str, parameters.shape))
    return styled(
        hv.Image((*places, shown), axes, value),
        title=f"{parameters.theory} on {size} by {parameters.method}",
        clim=(-1, 1),
        width=430,
        height=330,
        tools=["hover"],
        **colour_bar(str(value.label)) | {"cmap": PALETTE},
        **FRAME,
    )
