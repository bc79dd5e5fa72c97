"""Records: dataclasses for stored or external data, whose values pydantic checks.

    @record
    class Circle:
        radius: Annotated[Real, Field(gt=0, title="radius")] = 1.0

    read(Circle, {"radius": -1})  # ValueError: the radius must be above 0, got -1.

The title of a field names it in messages. `Real`, `Whole` and `Flag` are strict: a string or a boolean is
not accepted as a number. Every number is finite. Lists become tuples. Unknown fields are refused. Every
error is one sentence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, wraps
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

T = TypeVar("T")

Real = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[Whole, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[Whole, Field(ge=0, le=2**31 - 1, title="seed")]

MAX_SHOWN = 80
"""Largest number of characters of a wrong value in a message."""

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

_EXPECTED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "tuple_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "literal_error": "{expected}",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}
"""Expected values by pydantic's error type. Other types use pydantic's own message."""


@dataclass_transform(frozen_default=True, field_specifiers=(Field, dataclasses.field))
def record(cls: type[T]) -> type[T]:
    """Convert a class to a frozen dataclass. Values that do not match its annotations raise ValueError."""
    made: Any = pydantic.dataclasses.dataclass(frozen=True, config=_CONFIG)(cls)
    validated: Callable[..., None] = made.__init__

    @wraps(validated)
    def initialise(self: Any, *args: Any, **values: Any) -> None:
        try:
            validated(self, *args, **values)
        except ValidationError as error:
            raise ValueError(_sentence(error, made)) from None

    made.__init__ = initialise
    return made


def read(cls: type[T], stored: Any) -> T:
    """Return the record that a JSON value describes.

    Raises
    ------
    ValueError
        One sentence about the first field that is missing, unknown or wrong.
    """
    try:
        made: T = _adapter(cast(Any, cls)).validate_python(stored)
        return made
    except ValidationError as error:
        raise ValueError(_sentence(error, cls)) from None


def changed_values(value: Any) -> dict[str, Any]:
    """Return the JSON form of a record without the values that are defaults; `read` restores it."""
    changed: dict[str, Any] = _adapter(cast(Any, type(value))).dump_python(
        value, mode="json", exclude_defaults=True
    )
    return changed


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON schema of a record, without the docstrings of the classes."""
    schema = _adapter(cls).json_schema()
    for described in (schema, *schema.get("$defs", {}).values()):
        described.pop("description", None)
    return schema


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _sentence(error: ValidationError, cls: Any) -> str:
    """Describe the first error of a record in one sentence."""
    first = error.errors(include_url=False)[0]
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    fields = [f.name for f in dataclasses.fields(cls)]
    # pydantic identifies positional arguments by their index
    path = [fields[p] if i == 0 and isinstance(p, int) else p for i, p in enumerate(first["loc"])]
    path = [p for p in path if not str(p).startswith("<")]  # tags of unions
    name = _name(cls, path)
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return f"{name} is missing."
    if kind == "unexpected_keyword_argument":
        *parents, unknown = map(str, path)
        known = "" if parents else f"; it has {', '.join(sorted(fields))}"
        return f"{'.'.join(parents) or cls.__name__} has no field {unknown[:MAX_SHOWN]!r}{known}."
    if kind in _EXPECTED:
        expected = f"must be {_EXPECTED[kind].format(**{k: _plain(v) for k, v in context.items()})}"
    else:
        expected = first["msg"].replace("Input should", "must")
    return f"{name} {expected}, got {_shown(value)}."


def _name(cls: Any, path: list[Any]) -> str:
    """Name the place of an error: by the title of a field, or by the path to it."""
    if not path:
        return f"a {cls.__name__}"
    *_, last = words = [str(p)[:MAX_SHOWN] for p in path if not isinstance(p, int)]
    field = cls.__pydantic_fields__.get(last) if len(words) == 1 else None
    name = f"the {field.title}" if field is not None and field.title else ".".join(words)
    return f"a value of {name}" if isinstance(path[-1], int) else name


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with thousands of digits
        return "a number with thousands of digits"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
