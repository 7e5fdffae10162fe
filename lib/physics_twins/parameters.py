"""Parameters written once: name, type, default, unit, range and help of every number a user can set.

A twin declares one frozen model per step. The panel's sliders, the check before a notebook starts, the
command line's help, a run's `parameters.json` and a dataset's attributes all come from that model.
"""

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ParameterError(ValueError):
    """A parameter with an unknown name, a wrong type or a value outside its range; one line each."""

    @classmethod
    def unknown(cls, name: str, fields: Iterable[str]) -> Self:
        """Return the error of a parameter that there is not, which tells the nearest of `fields`."""
        nearest = difflib.get_close_matches(name, fields, n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(fields)}"
        return cls(f"unknown parameter {name!r}{hint}")


@dataclass(frozen=True)
class FieldDescription:
    """What a user needs to know about one parameter.

    Attributes:
        name: Identifier, ending in its unit where it has one.
        kind: `float`, `int`, `bool` or `str`.
        default: Value that is used when none is given.
        unit: Unit as text, "" for a pure number.
        help: One sentence.
        minimum: Lowest value, None where unbounded.
        maximum: Highest value, None where unbounded.
        choices: The allowed values, empty where any value in range is allowed.
        logarithmic: Whether a slider should move in factors.
        folded: Whether a panel keeps the control folded away at first.
        input_file: Whether the value is the path of a file that a run reads.
    """

    name: str
    kind: type
    default: Any
    unit: str
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...]
    logarithmic: bool
    folded: bool
    input_file: bool

    @property
    def allowed(self) -> str:
        """The allowed values in words.

        >>> class Source(Parameters):
        ...     dm_pc_cm3: float = field(56.8, ge=0, le=3000, unit="pc cm-3", help="Dispersion")
        >>> Source.describe()["dm_pc_cm3"].allowed
        '0 to 3000 pc cm-3'
        """
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is None and self.maximum is None:
            return _WORDS[self.kind] + (unit and f" in{unit}")
        if self.maximum is None:
            return f"{self.minimum:.10g}{unit} or more"
        if self.minimum is None:
            return f"{self.maximum:.10g}{unit} or less"
        return f"{self.minimum:.10g} to {self.maximum:.10g}{unit}"


def field(
    default: Any,
    *,
    help: str,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    logarithmic: bool = False,
    folded: bool = False,
    input_file: bool = False,
) -> Any:
    """Declare one parameter of a `Parameters` model.

    Args:
        default: Its default, inside the range.
        help: One sentence that says what it is.
        unit: Unit as text; the field's name ends in it too.
        ge: Lowest allowed value.
        le: Highest allowed value.
        logarithmic: Whether a slider should move in factors.
        folded: Whether a panel folds the control away at first.
        input_file: Whether it is the path of a file that a run reads and must record by hash.
    """
    extra = {
        "unit": unit,
        "minimum": ge,
        "maximum": le,
        "logarithmic": logarithmic,
        "folded": folded,
        "input_file": input_file,
    }
    if ge is None and le is None:
        return Field(default, description=help, json_schema_extra=extra)
    return Field(default, ge=ge, le=le, allow_inf_nan=False, description=help, json_schema_extra=extra)


class Parameters(BaseModel):
    """Base of every parameter model: frozen, strict about types, closed to unknown names."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_default=True, protected_namespaces=()
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_in_words(type(self), values, error)) from None

    @classmethod
    def describe(cls) -> dict[str, FieldDescription]:
        """Return what is known of every field, by name, in the order of declaration."""
        return dict(_descriptions(cls))

    @classmethod
    def take(cls, values: Mapping[str, Any]) -> Self:
        """Return the model built from those of `values` that name its fields; others are ignored.

        A notebook calls `take(globals())` after its parameters cell.

        Raises:
            ParameterError: A value has the wrong type or is outside its range.
        """
        return cls(**{name: values[name] for name in cls.model_fields if name in values})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the model written by `to_json`.

        Raises:
            ParameterError: The text is no JSON object, or a field is unknown or wrong.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ParameterError(f"parameters are not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise ParameterError(f"parameters must be a JSON object, found {type(values).__name__}")
        return cls(**values)

    def to_json(self) -> str:
        """Return the values as indented JSON."""
        return json.dumps(self.to_papermill(), indent=2)

    def to_papermill(self) -> dict[str, Any]:
        """Return plain values by name, as papermill wants them."""
        return self.model_dump()

    def to_attributes(self) -> dict[str, Any]:
        """Return values that a netCDF file accepts as attributes: truth values become 0 or 1."""
        return {k: int(v) if isinstance(v, bool) else v for k, v in self.model_dump().items()}

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some values changed."""
        return type(self)(**(self.model_dump() | changes))


class Execution(Parameters):
    """How a notebook runs, as opposed to what it computes; every notebook declares it.

    Attributes:
        HOW: Those that do not change what comes out.
    """

    HOW: ClassVar = ("on", "run_dir")

    seed: int = field(1, ge=0, le=2**32 - 1, help="Seed of every random number of the run")
    on: str = field(
        "local", help="Where heavy work runs: local, slurm, slurm-gpu, ... or tcp://host:port"
    )
    run_dir: str = field("", help="Folder of the run; empty makes a new one under runs/")


def check(models: Iterable[type[Parameters]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check `values` against the models that declare them; return them complete with defaults.

    Args:
        models: Models whose field names do not overlap.
        values: Some of their fields, by name. A text is converted to the field's own type.

    Returns:
        Every field of every model, by name, with paths of input files made absolute.

    Raises:
        ParameterError: A name is unknown (the nearest known one is suggested), a value has the wrong
            type or is outside its range, or an input file is not there.

    >>> class Search(Parameters):
    ...     dm_max_pc_cm3: float = field(100.0, ge=1, le=3000, unit="pc cm-3", help="Highest DM")
    >>> check([Search], {"dm_max_pc_cm3": "600"})
    {'dm_max_pc_cm3': 600.0}
    >>> check([Search], {"dm_max": 600.0})
    Traceback (most recent call last):
    physics_twins.parameters.ParameterError: unknown parameter 'dm_max'; did you mean 'dm_max_pc_cm3'?
    """
    models = list(models)
    fields = {name: info for model in models for name, info in model.describe().items()}
    for name in values:
        if name not in fields:
            raise ParameterError.unknown(name, fields)
    converted = {name: _convert(fields[name], value) for name, value in values.items()}
    complete: dict[str, Any] = {}
    for model in models:
        complete |= model.take(converted).to_papermill()
    for name in (n for n, info in fields.items() if info.input_file and complete[n]):
        path = Path(complete[name]).expanduser().resolve()
        if not path.is_file():
            raise ParameterError(f"{name} = {complete[name]!r}: there is no such file")
        complete[name] = str(path)
    return complete


_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@functools.cache
def _descriptions(model: type[Parameters]) -> dict[str, FieldDescription]:
    return {name: _description(model, name) for name in model.model_fields}


def _description(model: type[Parameters], name: str) -> FieldDescription:
    info = model.model_fields[name]
    declared: Any = info.json_schema_extra  # by `field`
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    return FieldDescription(
        name=name,
        kind=type(choices[0]) if choices else _kind(info.annotation),
        default=info.default,
        help=info.description or "",
        choices=choices,
        **declared,
    )


def _kind(annotation: Any) -> type:
    if get_origin(annotation) is UnionType:
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if annotation not in _WORDS:
        raise TypeError(f"a parameter must be float, int, bool, str or Literal, not {annotation}")
    return annotation


def _convert(info: FieldDescription, value: Any) -> Any:
    """Turn text from a command line into the field's type; leave everything else as it is."""
    if not isinstance(value, str) or info.kind is str:
        return value
    try:
        return _TRUTH[value.lower()] if info.kind is bool else info.kind(value)
    except (KeyError, ValueError):
        raise ParameterError(_refusal(info, value, f"is not {_WORDS[info.kind]}")) from None


def _in_words(model: type[Parameters], values: Mapping[str, Any], error: ValidationError) -> str:
    fields = model.describe()
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            lines.append(str(ParameterError.unknown(name, fields)))
        elif problem["type"] == "missing":
            lines.append(f"{name} is missing: give {fields[name].allowed}")
        elif name in fields:
            outside = problem["type"] in ("greater_than_equal", "less_than_equal", "finite_number")
            wrong_type = "is not allowed" if fields[name].choices else "has the wrong type"
            reason = "is outside its range" if outside else wrong_type
            lines.append(_refusal(fields[name], values.get(name, fields[name].default), reason))
        else:
            lines.append(problem["msg"].removeprefix("Value error, "))
    return "; ".join(lines)


def _refusal(info: FieldDescription, value: Any, reason: str) -> str:
    unit = f" {info.unit}" if info.unit else ""
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return f"{info.name} = {shown}{unit} {reason}: allowed is {info.allowed} ({info.help})"
