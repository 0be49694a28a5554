"""What every compressor is: a frozen dataclass with a kernel, a guarantee, a spec and a wire form.

Beside its kernel a compressor holds its parameters, their validation, what it guarantees and its
spec string; the torch track has kernels of its own and takes all else from here. Randomness is
drawn first and applied after (``apply(x, draw(shape, rng))``), so that any kernel fed the same
draws gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self, get_type_hints

import numpy as np

from efsgd.arrays import Array, Generator, all_finite, as_vectors
from efsgd.checks import dimension
from efsgd.compressors.frame import LONGEST_SPEC, pack
from efsgd.compressors.guarantee import Guarantees
from efsgd.compressors.kind import Kind
from efsgd.compressors.packing import Reader, Shape, Writer
from efsgd.compressors.spec import arguments, format_spec, split, unknown


@dataclass(frozen=True)
class Compressor(Kind, Guarantees):
    """Base of all compressors; C maps vectors of length d to vectors of length d.

    A subclass needs ``apply``; to be named in files and commands it registers itself:
    ``class Mine(Compressor, spec="mine")``. What it claims, it says with ``guarantee``; see
    :class:`efsgd.compressors.guarantee.Guarantees`. Whether it draws, starts warm or couples
    workers, it says as :class:`efsgd.compressors.kind.Kind` has it.
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
        """The state to draw with at the next step; None unless the compressor is ``warm``."""
        return None

    def first_state(self, weights: Array) -> Any:
        """The state to draw with at the first step of n workers that count as ``weights`` (n,).

        For compressors that are ``joint``, and only where weights differ: else it is None.
        """
        return None

    def joined(self, x: Array, drawn: Any) -> Any:
        """What was drawn, and what the workers of x (R, n, d) find out together.

        With its row of it a worker encodes its own vector: the message of x[r, i] gives what
        ``apply(x, drawn)`` has there. The same as ``drawn`` unless a message depends on all rows.
        """
        return drawn

    def __call__(self, x: Any, rng: Generator | None = None) -> Array:
        """C(x) of each vector of x (..., d), in the dtype of x (float32 or float64).

        Raises ValueError for NaN or inf, OverflowError where the dtype cannot hold the result.
        """
        x = as_vectors(x)
        return self.apply_checked(x, self.draw(x.shape, rng))

    def apply_checked(self, x: Array, drawn: Any) -> Array:
        """C(x) of checked vectors x; ValueError for a wrong shape, OverflowError for inf or NaN."""
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
        """Return ``sent``; OverflowError where it holds inf or NaN."""
        if not all_finite(sent):
            raise OverflowError(f"{self} of this vector does not fit {sent.dtype}: scale it down")
        return sent

    # -- its guarantee: see Guarantees -----------------------------------------------------------

    def contractive(self, d: int) -> Compressor:
        """The compressor that error feedback may use at dimension d: C/(1+omega) if unbiased.

        Theorem IV of arXiv 1901.09847: U/k has delta = 1/k when E|U(x)|^2 <= k|x|^2. For vectors of
        several dimensions use :class:`efsgd.Contractive`.
        """
        if self.guarantee == "unbiased":
            from efsgd.compressors.wrappers import Scaled

            return Scaled(self, 1.0 / (1.0 + self.omega(d)))
        if self.delta(d) > 0:
            return self
        raise ValueError(f"{self} has delta = 0 at d = {d}, and no scaling mends that")

    # -- the wire --------------------------------------------------------------------------------

    def encode(self, x: Any, rng: Generator | None = None, *, drawn: Any = None) -> bytes:
        """The message for one vector (d,): what would travel. ``efsgd.decode`` gives back C(x).

        With ``drawn`` (from :meth:`draw`, or a worker's row of :meth:`joined`) nothing is drawn.
        Raises as ``__call__`` does.
        """
        x = as_vectors(x)
        if x.ndim != 1:
            raise ValueError(
                f"encode takes one vector (d,), not the shape {x.shape}: loop over rows"
            )
        spec = self._named()
        out = Writer(x.dtype)
        if x.size:
            drawn = self.draw(x.shape, rng) if drawn is None else drawn
            with np.errstate(over="ignore", invalid="ignore"):
                self._write(out, x, drawn)
        return pack(spec, x.size, x.dtype, out.parts)

    def _named(self) -> bytes:
        """The spec in ASCII; ValueError where it is long or does not name this compressor."""
        spec = str(self)
        try:
            named = compressor(spec) == self
        except ValueError:
            named = False
        if not named or not spec.isascii() or len(spec) > LONGEST_SPEC:
            raise ValueError(
                f"no spec of at most {LONGEST_SPEC} ASCII characters names this compressor (it "
                f"says {spec!r}): give its class, and that of every compressor inside, a spec and "
                "few fields"
            )
        return spec.encode("ascii")

    def bits(self, d: int, dtype: Any = np.float64) -> int:
        """An upper bound on the payload in bits; 8*len(encode(x)) <= bits(d) + 8*HEADER."""
        return self._bits(d, 8 * np.dtype(dtype).itemsize) if dimension(d) else 0

    def _bits(self, d: int, width: int) -> int:
        """The same for d > 0 and numbers of ``width`` bits."""
        return d * width

    def _write(self, out: Writer, x: Array, drawn: Any) -> None:
        """Write the fields for x (..., d). Unless overridden the message is C(x), dense."""
        out.floats(self.apply_checked(x, drawn))

    def _read(self, fields: Reader, shape: Shape) -> Any:
        """Read and check the fields for a vector of this shape; allocate no more than they take."""
        return fields.floats(shape)

    def _fill(self, out: Array, message: Any) -> None:
        """Write C(x) into ``out``, which may be a view, from what ``_read`` returned."""
        out[...] = message

    # -- the spec --------------------------------------------------------------------------------

    def __str__(self) -> str:
        """The spec, such as ``topk:0.01``; ``efsgd.compressor(str(c)) == c``."""
        return format_spec(self.name or type(self).__name__.lower(), self, Compressor)

    @classmethod
    def _from_words(cls, rest: str) -> Self:
        """Build from what follows the name in a spec."""
        names: list[str] = _nested(cls)  # type: ignore[arg-type]
        nested = [field for field in fields(cls) if field.name in names]
        plain = [field for field in fields(cls) if field.name not in names]
        values = arguments(rest, plain, nested, compressor)
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error).replace("__init__()", "it")) from None


@cache
def _nested(cls: type[Compressor]) -> list[str]:
    """The fields that hold a compressor."""
    return [name for name, kind in get_type_hints(cls).items() if kind is Compressor]


def compressor(spec: str) -> Compressor:
    """The compressor that a spec such as ``topk:0.01`` or ``scaled:0.5,natural`` names."""
    name, rest = split(spec)
    if name not in Compressor.registry:
        raise ValueError(unknown(name, Compressor.registry))
    try:
        return Compressor.registry[name]._from_words(rest)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{spec!r} is not a compressor: {error}") from None


def need(rng: Generator | None, c: Compressor) -> Generator:
    """Return ``rng``; ValueError without one, as the compressor c is random."""
    if not isinstance(rng, np.random.Generator):
        instead = "" if rng is None else f", not {rng!r}"
        raise ValueError(f"{c} is random: pass rng=np.random.default_rng(seed){instead}")
    return rng


def drawn_for(r: int, drawn: Any) -> Any:
    """The draws of row r, from those of an (R, d) input, whose leading axis they carry."""
    if isinstance(drawn, list | tuple):
        return type(drawn)(drawn_for(r, part) for part in drawn)
    return None if drawn is None else drawn[r]


def instance(value: Any) -> Compressor:
    """Return ``value``, a compressor; ValueError with the remedy for a spec, a class or another."""
    if isinstance(value, Compressor):
        return value
    cure = "such as efsgd.ScaledSign()"
    if isinstance(value, str):
        cure = f"write efsgd.compressor({value!r})"
    elif isinstance(value, type) and issubclass(value, Compressor):
        cure = f"write {value.__name__}(...), an instance"
    raise ValueError(f"expected a compressor, not {value!r}: {cure}")
