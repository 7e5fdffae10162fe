"""Where the project's folders are: the clone around the current folder, if there is one."""

from pathlib import Path

# One level down, and not the copies that JupyterLab keeps in hidden folders.
NOTEBOOKS = "[!.]*/*.ipynb"


def project_root(start: Path | None = None) -> Path | None:
    """Return the nearest folder, from `start` upwards, whose `notebooks/` holds twins' notebooks.

    Args:
        start: Where to begin; the current folder by default.

    Returns:
        That folder, or None outside a project.
    """
    start = (start or Path.cwd()).resolve()
    return next((p for p in (start, *start.parents) if has_notebooks(p / "notebooks")), None)


def has_notebooks(folder: Path) -> bool:
    """Return whether `folder` holds a notebook one level down, as in `pulsar/4_infer.ipynb`."""
    return any(folder.glob(NOTEBOOKS))


def beside_package() -> Path:
    """Return the folder that holds `lib/` where the package is used from a clone."""
    return Path(__file__).resolve().parents[3]


def inside_package() -> Path:
    """Return the package's own folder, which in a wheel holds notebooks and models too."""
    return Path(__file__).resolve().parents[1]
