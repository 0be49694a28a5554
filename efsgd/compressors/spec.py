"""Specs: a compressor as a line of text such as ``topk:0.01`` or ``scaled:0.5,natural``.

A name, a colon, then the fields in their order, with commas between them: those without a default
as bare values, the others as ``name=value`` where they differ from it (a true flag as its name).
A compressor among the fields comes last, as its own spec; where it is the only field, a comma may
stand for the colon, as in ``contractive,qsgd:7``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from typing import Any

_CONSTANTS = {"True": True, "False": False, "None": None}


def split(spec: str) -> tuple[str, str]:
    """The name in a spec, and what follows it, from its colon or comma on."""
    name = re.split("[:,]", spec, maxsplit=1)[0]
    return name, spec[len(name) :]


def unknown(name: str, known: Collection[str]) -> str:
    """The refusal of a name that no compressor has."""
    plain = name.strip().lower().replace("-", "").replace("_", "")
    near = did_you_mean(plain, known)
    return f"no compressor is called {name!r}{near}; known are {' '.join(sorted(known))}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The known word that is most like this one, in brackets; nothing where none is like it."""
    near = get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


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
    text: str, plain: list[Field[Any]], nested: list[Field[Any]], read: Callable[[str], Any]
) -> dict[str, Any]:
    """Name -> value of the fields in what follows a name; ValueError where it does not fit.

    ``plain`` are the fields that hold a value, ``nested`` those that hold a compressor (one at
    most), whose spec ``read`` turns into one.
    """
    values: dict[str, Any] = {}
    if text.startswith(",") and (plain or not nested):
        raise ValueError(f"a colon comes before its fields, not {text[:9]!r}")
    text = text[1:]
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
            values[compressor_field.name], rest = read(text), ""
        else:
            raise ValueError(f"it takes no {word!r}{did_you_mean(key, optional)}")
        text = rest
    if required:
        raise ValueError(f"it needs {', '.join(required)}")
    if any(field.default is MISSING and field.name not in values for field in nested):
        raise ValueError("the compressor inside is missing: its spec comes last")
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
