"""From a panel to a batch run: the parameter file, the command line, the same as code."""

import shlex
from datetime import datetime
from pathlib import Path

from physics_twins.parameters import Parameters


def default_path(twin: str) -> Path:
    """Return a name for a parameter file under the current folder that tells when it was written."""
    return Path("parameters") / f"{twin}-{datetime.now():%Y%m%d-%H%M%S}.json"


def write(parameters: Parameters, path: Path) -> Path:
    """Write parameters as JSON to a new file, and return its absolute path.

    Raises:
        FileExistsError: There is a file of this name; it is left as it is.
        OSError: The file cannot be written.
    """
    path = path.expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(parameters.to_json() + "\n")
    except FileExistsError:
        raise FileExistsError(
            f"{path} exists already and is left as it is: choose another name"
        ) from None
    return path


def command_line(notebook: str, path: Path) -> str:
    """Return what runs a notebook with the parameters in a file.

    >>> command_line("pulsar/1_simulate", Path("/home/ada/my runs/bright.json"))
    "twins run pulsar/1_simulate --parameters '/home/ada/my runs/bright.json'"
    """
    return shlex.join(["twins", "run", notebook, "--parameters", str(path)])


def as_code(parameters: Parameters, use: str) -> str:
    """Return Python code that makes these parameters and uses them.

    Args:
        parameters: Only what differs from the defaults is written.
        use: Lines that follow, with their imports; they call the parameters `parameters`.
    """
    model, default = type(parameters), type(parameters)().to_papermill()
    changed = {k: v for k, v in parameters.to_papermill().items() if v != default[k]}
    arguments = "".join(f"\n    {name}={value!r}," for name, value in changed.items())
    made = f"{model.__name__}({arguments}\n)" if changed else f"{model.__name__}()"
    lines = [f"from {model.__module__} import {model.__name__}", *use.splitlines()]
    imports = sorted(line for line in lines if line.startswith(("from ", "import ")))
    rest = [line for line in lines if line not in imports]
    return "\n".join([*imports, "", f"parameters = {made}", *rest]) + "\n"
