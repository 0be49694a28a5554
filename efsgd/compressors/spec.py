"""Specs: a compressor as a line of text such as ``topk:0.01`` or ``scaled:0.5,natural``.

A name, a colon, then the fields in their order, with commas between them: those without a default
as bare values, the others as ``name=value`` where they differ from it (a true flag as its name).
A compressor among the fields comes last, as its own spec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any

_CONSTANTS = {"True": True, "False": False, "None": None}


def format_spec(name: str, value: Any, inner: type) -> str:
    """The spec of a dataclass instance whose fields of the type ``inner`` have specs as well."""
    words, specs = [], []
    for field in fields(value):
        item = getattr(value, field.name)
        if isinstance(item, inner):
            specs.append(str(item))
        elif field.default is MISSING:
            words.append(_format(item))
        elif item != field.default:
            words.append(field.name if item is True else f"{field.name}={_format(item)}")
    return name + (":" + ",".join(words + specs) if words or specs else "")


def arguments(
    text: str, plain: list[Field[Any]], nested: list[str], read: Callable[[str], Any]
) -> dict[str, Any]:
    """Name -> value of the fields in the text behind a colon; ValueError where it does not fit.

    ``plain`` are the fields that hold a value, ``nested`` the names of those that hold a compressor
    (one at most), whose spec ``read`` turns into one.
    """
    values: dict[str, Any] = {}
    required = [field.name for field in plain if field.default is MISSING]
    optional = {field.name: field.default for field in plain if field.default is not MISSING}
    while text:
        word, _, rest = text.partition(",")
        key, equals, value = word.partition("=")
        if required:
            values[required.pop(0)] = _parse(word)
        elif key in optional:
            values[key] = _parse(value) if equals else True
            if isinstance(optional[key], bool) and not isinstance(values[key], bool):
                raise ValueError(f"{key} is a flag: write it without a value, not {word!r}")
        elif nested:
            (compressor_field,) = nested
            values[compressor_field], rest = read(text), ""
        else:
            raise ValueError(f"it takes no {word!r}")
        text = rest
    if required:
        raise ValueError(f"it needs {', '.join(required)}")
    return values


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return repr(float(value)) if isinstance(value, float) else str(value)


def _parse(word: str) -> Any:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    sides = word.split("x")
    return tuple(int(side) for side in sides) if all(s.isdecimal() for s in sides) else word
