"""From a panel to a batch run and back: the parameter file, the command lines, the same as code."""

import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from physics_twins.parameters import ParameterError, Parameters, check

MOST_BYTES = 10**6  # of a parameter file; no model has as much to say

Model = TypeVar("Model", bound=Parameters)


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


def read(model: type[Model], path: Path) -> Model:
    """Return the parameters in a file; those that it does not name have their defaults.

    Raises:
        ParameterError: It is no JSON object, or a field is unknown or wrong; the file is named.
        OSError: The file cannot be read.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: give the path of a file that Run as batch has written"
        )
    with path.open("rb") as file:
        return parse(model, file.read(MOST_BYTES + 1), str(path))


def parse(model: type[Model], content: bytes, name: str) -> Model:
    """Return the parameters that a file of this name holds.

    Raises:
        ParameterError: As for `read`.
    """
    if len(content) > MOST_BYTES:
        raise ParameterError(f"{name} has more than {MOST_BYTES} bytes: it is no parameter file")
    try:
        return model.from_json(content.decode())
    except UnicodeDecodeError as error:
        raise ParameterError(f"{name}: byte {error.start} is no text in UTF-8") from None
    except RecursionError:
        raise ParameterError(f"{name}: parameters are nested: give one value for each name") from None
    except ParameterError as error:
        raise ParameterError(f"{name}: {error}") from None


DEFAULTS = "defaults"  # the line of parameters of which none differs from its default


def as_text(parameters: Parameters) -> str:
    """Return the parameters that differ from their defaults as one line, `NAME=VALUE NAME=VALUE`."""
    return shlex.join(f"{name}={value}" for name, value in changed(parameters).items()) or DEFAULTS


def from_text(model: type[Model], text: str) -> Model:
    """Return the parameters that a line of `as_text` stands for.

    Raises:
        ParameterError: It is no such line, or a parameter is unknown or wrong; it is named.
    """
    try:
        words = shlex.split(text[:MOST_BYTES])
    except ValueError as error:
        raise ParameterError(f"the line cannot be read: {error}") from None
    if not words:
        raise ParameterError(f"the line is empty: write NAME=VALUE, or {DEFAULTS}")
    values: dict[str, str] = {}
    for word in words if words != [DEFAULTS] else []:
        name, equals, value = word.partition("=")
        if not equals:
            raise ParameterError(f"{word[:60]!r} is no parameter: write NAME=VALUE")
        if name in values:
            raise ParameterError(f"{name} is given twice")
        values[name] = value
    return model(**check([model], values))


def twins(*words: str) -> str:
    """Return a line that calls this installation's command `twins` from any shell, by its path."""
    program = Path(sys.executable).with_name("twins")
    called = [str(program)] if program.is_file() else [sys.executable, "-m", "physics_twins.cli"]
    return shlex.join([*called, *words])


def command_line(notebook: str, path: Path) -> str:
    """Return what runs a notebook with the parameters in a file.

    >>> command_line("pulsar/1_simulate", Path("/home/ada/my runs/bright.json")).split("run ", 1)[1]
    "pulsar/1_simulate --parameters '/home/ada/my runs/bright.json'"
    """
    return twins("run", notebook, "--parameters", str(path))


def run_line(notebook: str, parameters: Parameters, **more: Any) -> str:
    """Return what runs a notebook with the parameters that differ from their defaults, and more.

    >>> run_line("pulsar/5_twin", Parameters(), observed_path="a b.fil").partition("run ")[2]
    "pulsar/5_twin -p 'observed_path=a b.fil'"
    """
    values = changed(parameters) | more
    return twins("run", notebook, *(w for name, v in values.items() for w in ("-p", f"{name}={v}")))


def sweep_line(notebook: str, parameters: Parameters, name: str, values: Sequence[Any] | str) -> str:
    """Return what runs a notebook at several values of one parameter, the others as they are.

    Args:
        notebook: Its name.
        parameters: Only what differs from the defaults is written.
        name: What is varied.
        values: One after the other, or a text such as `LOW:HIGH:N`.

    >>> sweep_line("pulsar/1_simulate", Parameters(), "n_bits", (1, 2, 8)).partition("sweep ")[2]
    'pulsar/1_simulate --grid n_bits=1,2,8'
    """
    axis = values if isinstance(values, str) else ",".join(map(str, values))
    fixed = [
        word
        for key, value in changed(parameters).items()
        if key != name
        for word in ("-p", f"{key}={value}")
    ]
    return twins("sweep", notebook, *fixed, "--grid", f"{name}={axis}")


def changed(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters that differ from their defaults, by name."""
    default = type(parameters)().to_papermill()
    return {name: v for name, v in parameters.to_papermill().items() if v != default[name]}


def as_code(parameters: Parameters, use: str) -> str:
    """Return Python code that makes these parameters and uses them.

    Args:
        parameters: Only what differs from the defaults is written.
        use: Lines that follow, with their imports; they call the parameters `parameters`.
    """
    model = type(parameters)
    arguments = "".join(f"\n    {name}={value!r}," for name, value in changed(parameters).items())
    made = f"{model.__name__}({arguments}\n)" if arguments else f"{model.__name__}()"
    lines = [f"from {model.__module__} import {model.__name__}", *use.splitlines()]
    imports = sorted(line for line in lines if line.startswith(("from ", "import ")))
    rest = [line for line in lines if line not in imports]
    return "\n".join([*imports, "", f"parameters = {made}", *rest]) + "\n"
