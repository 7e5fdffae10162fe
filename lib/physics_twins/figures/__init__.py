"""Figures made from datasets: style, images and series, and those that every twin's verbs share.

HoloViews is loaded when the first figure is asked for: workers take no more than `downsample`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics_twins.figures.plots import (
        candidates,
        components,
        load_extension,
        recovered_against_ideal,
        series,
        waterfall,
    )

__all__ = [
    "candidates",
    "components",
    "load_extension",
    "recovered_against_ideal",
    "series",
    "waterfall",
]


def __getattr__(name: str) -> Any:
    """Return a figure's function."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from physics_twins.figures import plots

    return getattr(plots, name)
