"""What every compressor is: a frozen dataclass with a kernel, a guarantee, a spec and a wire form.

A compressor holds everything but array code once: its parameters, their validation, what it
guarantees and its spec string. Randomness is drawn first and applied after
(``apply(x, draw(shape, rng))``), so that any kernel fed the same draws gives the same result.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal, Self, get_type_hints

import numpy as np

from efsgd.arrays import Array, Generator, all_finite, as_vectors
from efsgd.packing import Reader, Shape, Writer

_CONSTANTS = {"True": True, "False": False, "None": None}
Guarantee = Literal["pathwise", "expectation", "unbiased", "absolute", "none"]


@dataclass(frozen=True)
class Compressor:
    """Base of all compressors; C maps vectors of length d to vectors of length d.

    A subclass needs ``apply``; to be named in files and commands it registers itself:
    ``class Mine(Compressor, spec="mine")``. What it claims, it says with ``guarantee``:

    - "pathwise": |C(x)-x|^2 <= (1-delta)|x|^2 always (arXiv 1901.09847, Assumption A);
    - "expectation": the same for E|C(x)-x|^2;
    - "unbiased": E C(x) = x and E|C(x)-x|^2 <= omega |x|^2;
    - "absolute": |C(x)-x| is bounded by a constant, delta = 0;
    - "none": nothing.
    """

    registry: ClassVar[dict[str, type[Compressor]]] = {}
    name: ClassVar[str] = ""

    def __init_subclass__(cls, spec: str | None = None, **kwargs: Any) -> None:
        """Register the subclass under its spec name."""
        super().__init_subclass__(**kwargs)
        cls.name = spec or ""
        if spec is None:
            return
        if not (spec.isascii() and spec.isidentifier()):
            raise ValueError(f"spec={spec!r} is not a name: use letters, digits and underscores")
        other = Compressor.registry.get(spec)
        if other is not None and other.__qualname__ != cls.__qualname__:
            raise ValueError(f"spec={spec!r} is taken by {other.__name__}: choose another name")
        Compressor.registry[spec] = cls

    # -- the kernel ------------------------------------------------------------------------------

    def apply(self, x: Array, drawn: Any = None) -> Array:
        """C(x) of each vector of x (..., d), given what was drawn; a plain, unchecked function."""
        raise NotImplementedError(f"{type(self).__name__} must define apply(x, drawn)")

    def draw(self, shape: Shape, rng: Generator | None = None, state: Any = None) -> Any:
        """Draw what is random for an input of this shape (..., d); None if nothing is.

        An array with the same leading axes, or a list of such arrays: row by row they belong to x.
        ``state`` is what :meth:`next_state` returned, for compressors that start warm.
        """
        if self.random:
            raise NotImplementedError(f"{type(self).__name__} is random and must define draw")
        return None

    def next_state(self, x: Array, drawn: Any) -> Any:
        """The state to draw with at the next step; None unless the compressor starts warm."""
        return None

    def __call__(self, x: Any, rng: Generator | None = None) -> Array:
        """C(x) of each vector of x (..., d), in the dtype of x (float32 or float64).

        Raises ValueError for NaN or inf, OverflowError where the dtype cannot hold the result.
        """
        x = as_vectors(x)
        return self._checked(x, self.draw(x.shape, rng))

    def _checked(self, x: Array, drawn: Any) -> Array:
        if x.shape[-1] == 0:
            return x.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            sent = self.apply(x, drawn)
        self.check_shape(x, sent)
        return self._finite(sent)

    def check_shape(self, x: Array, sent: Array) -> None:
        """Raise ValueError where C(x) has another shape than x, which would broadcast silently."""
        if sent.shape != x.shape:
            raise ValueError(f"{self} made shape {sent.shape} of {x.shape}: apply must keep it")

    def _finite(self, sent: Array) -> Array:
        if not all_finite(sent):
            raise OverflowError(f"{self} of this vector does not fit {sent.dtype}: scale it down")
        return sent

    # -- what kind it is; a subclass may say it with a class attribute ---------------------------

    @property
    def random(self) -> bool:
        """Whether it draws randomness."""
        return False

    @property
    def fixed_size(self) -> bool:
        """Whether len(encode(x)) depends on d and the dtype only."""
        return False

    @property
    def projection(self) -> bool:
        """Whether <C(x), x> = |C(x)|^2 for every x and every draw."""
        return False

    # -- what it guarantees ----------------------------------------------------------------------

    @property
    def guarantee(self) -> Guarantee:
        """The kind of bound that holds."""
        return "none"

    @property
    def attained(self) -> bool:
        """Whether the worst case is attained; otherwise it is an infimum."""
        return True

    def delta(self, d: int) -> float:
        """The largest delta that holds for all x of dimension d; 0 where there is none."""
        if _dimension(d) == 0:
            return 1.0
        if self.guarantee == "unbiased":
            return max(0.0, 1.0 - self.omega(d))
        return 0.0 if self.guarantee in ("absolute", "none") else self._delta(d)

    def omega(self, d: int) -> float:
        """The least omega with E|C(x)-x|^2 <= omega|x|^2; only for unbiased compressors."""
        if self.guarantee != "unbiased":
            raise ValueError(f"{self} is not unbiased and has no omega: ask for delta(d)")
        return self._omega(d) if _dimension(d) else 0.0

    def attaining_point(self, d: int, within: float = 1e-6) -> Array:
        """A float64 vector (d,) where the worst case is met: delta(d), or omega(d) if unbiased.

        Where it is only an infimum (``attained`` is False) the vector comes within ``within``.
        """
        if self.guarantee in ("absolute", "none"):
            raise ValueError(f"{self} has no relative bound, so no point attains it")
        if not 1e-12 <= within < 1:  # closer, float64 no longer tells just below from at
            raise ValueError(f"within must lie in [1e-12, 1), not {within}")
        return self._attaining_point(d, within) if _dimension(d) else np.zeros(0)

    def contractive(self, d: int) -> Compressor:
        """The compressor that error feedback may use at dimension d: C/(1+omega) if unbiased.

        Theorem IV of arXiv 1901.09847: U/k has delta = 1/k when E|U(x)|^2 <= k|x|^2.
        """
        if self.guarantee == "unbiased":
            from efsgd.wrappers import Scaled

            return Scaled(self, 1.0 / (1.0 + self.omega(d)))
        if self.delta(d) > 0:
            return self
        raise ValueError(f"{self} has delta = 0 at d = {d}, and no scaling mends that")

    def _delta(self, d: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} claims a bound and must define delta(d)")

    def _omega(self, d: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} is unbiased and must define omega(d)")

    def _attaining_point(self, d: int, within: float) -> Array:
        raise NotImplementedError(f"{type(self).__name__} names no attaining point")

    def _scaled_delta(self, d: int, a: float) -> float:
        """delta of x -> a C(x), perhaps negative; exact if C is unbiased or a projection."""
        if self.guarantee == "unbiased":
            return a * (2.0 - a * (1.0 + self.omega(d)))
        if self.projection:
            return a * (2.0 - a) * self.delta(d)
        return 1.0 - (a * math.sqrt(1.0 - self.delta(d)) + abs(1.0 - a)) ** 2

    def _scaled_point(self, d: int, within: float, a: float) -> Array:
        """A vector where x -> a C(x) meets its worst case."""
        return self.attaining_point(d, within)

    # -- the wire --------------------------------------------------------------------------------

    def encode(self, x: Any, rng: Generator | None = None, *, drawn: Any = None) -> bytes:
        """The message for one vector (d,): what would travel. ``efsgd.decode`` gives back C(x).

        With ``drawn`` (from :meth:`draw`) nothing is drawn. Raises as ``__call__`` does.
        """
        from efsgd.wire import encode

        return encode(self, x, rng, drawn)

    def bits(self, d: int, dtype: Any = np.float64) -> int:
        """An upper bound on the payload in bits; 8*len(encode(x)) <= bits(d) + 8*HEADER."""
        return self._bits(d, 8 * np.dtype(dtype).itemsize) if _dimension(d) else 0

    def _bits(self, d: int, width: int) -> int:
        return d * width

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        """Write the fields for x (..., d). Unless overridden the message is C(x), dense."""
        out.floats(self._checked(x, drawn))

    def _read(self, fields: Reader, shape: Shape) -> Any:
        """Read and check the fields for a vector of this shape; allocate no more than they take."""
        return fields.floats(shape)

    def _fill(self, out: Array, message: Any) -> None:
        """Write C(x) into ``out``, from what ``_read`` returned."""
        out[...] = message

    # -- the spec --------------------------------------------------------------------------------

    def __str__(self) -> str:
        """The spec, such as ``topk:0.01``; ``efsgd.compressor(str(c)) == c``."""
        words, inner = [], []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Compressor):
                inner.append(str(value))
            elif field.default is MISSING:
                words.append(_format(value))
            elif value != field.default:
                words.append(field.name if value is True else f"{field.name}={_format(value)}")
        name = self.name or type(self).__name__.lower()
        return name + (":" + ",".join(words + inner) if words or inner else "")

    @classmethod
    def _from_words(cls, rest: str) -> Self:
        """Build from what follows the colon of a spec; a compressor among the fields comes last."""
        arguments: dict[str, Any] = {}
        nested: list[str] = _nested(cls)  # type: ignore[arg-type]
        own = [f for f in fields(cls) if f.name not in nested]
        required = [f.name for f in own if f.default is MISSING]
        optional = {f.name: f.default for f in own if f.default is not MISSING}
        while rest:
            word, _, after = rest.partition(",")
            key, equals, value = word.partition("=")
            if required:
                arguments[required.pop(0)] = _parse(word)
            elif key in optional:
                arguments[key] = _parse(value) if equals else True
                if isinstance(optional[key], bool) and not isinstance(arguments[key], bool):
                    raise ValueError(f"{key} is a flag: write it without a value, not {word!r}")
            elif nested:
                (tail,) = nested
                arguments[tail], after = compressor(rest), ""
            else:
                raise ValueError(f"it takes no {word!r}")
            rest = after
        if required:
            raise ValueError(f"it needs {', '.join(required)}")
        try:
            return cls(**arguments)
        except TypeError as error:
            raise ValueError(str(error).replace("__init__()", "it")) from None


@cache
def _nested(cls: type[Compressor]) -> list[str]:
    """The fields that hold a compressor."""
    return [name for name, kind in get_type_hints(cls).items() if kind is Compressor]


def compressor(spec: str) -> Compressor:
    """The compressor that a spec such as ``topk:0.01`` or ``scaled:0.5,natural`` names."""
    name, _, rest = spec.partition(":")
    if name not in Compressor.registry:
        known = " ".join(sorted(Compressor.registry))
        raise ValueError(f"no compressor is called {name!r}: known are {known}")
    try:
        return Compressor.registry[name]._from_words(rest)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{spec!r} is not a compressor: {error}") from None


def need(rng: Generator | None, who: Compressor) -> Generator:
    """Return ``rng``, or say that a random compressor needs one."""
    if not isinstance(rng, np.random.Generator):
        given = "" if rng is None else f", not {rng!r}"
        raise ValueError(f"{who} is random: pass rng=np.random.default_rng(seed){given}")
    return rng


def drawn_for(r: int, drawn: Any) -> Any:
    """What was drawn for replicate r; draws carry the leading axes of their input."""
    if isinstance(drawn, list | tuple):
        return type(drawn)(drawn_for(r, part) for part in drawn)
    return None if drawn is None else drawn[r]


def instance(value: Any) -> Compressor:
    """Return a compressor, or say what to write instead of a spec, a class or something else."""
    if isinstance(value, Compressor):
        return value
    cure = "such as efsgd.ScaledSign()"
    if isinstance(value, str):
        cure = f"write efsgd.compressor({value!r})"
    elif isinstance(value, type) and issubclass(value, Compressor):
        cure = f"write {value.__name__}(...), an instance"
    raise ValueError(f"expected a compressor, not {value!r}: {cure}")


def positive(name: str, value: float, most: float = math.inf) -> float:
    """Return ``value`` as a float in (0, most], or raise."""
    if isinstance(value, bool) or not 0 < value <= most or math.isinf(value):
        span = "positive and finite" if math.isinf(most) else f"in (0, {most:g}]"
        raise ValueError(f"{name} must be {span}, not {value}")
    return float(value)


def whole(name: str, value: Any, most: float = math.inf, *, least: int = 1) -> int:
    """Return ``value`` as an int in least, least + 1, ..., most, or raise."""
    kind = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not kind or not least <= value <= most:
        last = "" if math.isinf(most) else f", {most}"
        raise ValueError(
            f"{name} must be a whole number {least}, {least + 1}, ...{last}, not {value}"
        )
    return int(value)


def _dimension(d: int) -> int:
    if isinstance(d, bool) or int(d) != d or d < 0:
        raise ValueError(f"d must be a dimension (0, 1, 2, ...), not {d}")
    return int(d)


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(str(v) for v in value)
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
    return tuple(int(s) for s in sides) if all(s.isdecimal() for s in sides) else word
