"""Messages: C(x) to the bit, as short as promised, and harmless whatever the bytes.

Without this file a change of the format could make recorded messages unreadable, and a forged
message could exhaust the memory of the process that decodes it.
"""

from __future__ import annotations

import importlib.util
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compressor_table import (
    COMPRESSORS,
    DTYPES,
    INSTANCES,
    LIBRARY,
    count,
    drawn_for,
    slow_but_some,
    vectors,
)
from hypothesis import example, given
from hypothesis import strategies as st

from efsgd import HEADER, compressor, decode
from efsgd.arrays import Array
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Contractive,
    Identity,
    LowRank,
    Natural,
    NaturalDithering,
    PowerSGD,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
)
from efsgd.compressors.frame import VERSION

each = pytest.mark.parametrize("c", COMPRESSORS, ids=str)
either = pytest.mark.parametrize("dtype", DTYPES)
MB = 2**20


def same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def message(c: Compressor, x: Array, seed: int = 0) -> bytes:
    return c.encode(x, np.random.default_rng(seed))


# -- what is sent arrives -------------------------------------------------------------------------


@either
@each
def test_decoding_gives_back_every_bit(c: Compressor, dtype: type) -> None:
    for d in (0, 1, 2, 3, 5, 8, 9, 16, 33):
        x = vectors(d, dtype, each=1)[d % 3 :: 3]  # over all d, every kind of vector
        for i, vector in enumerate(x):
            draws = drawn_for(c, vector.shape, seed=i) if d else None
            data = c.encode(vector, drawn=draws)
            y = decode(data)
            assert same(y, c.apply(vector, draws) if d else vector)
            assert y.flags.writeable
            assert 8 * len(data) <= c.bits(d, dtype) + 8 * HEADER
            assert c.encode(vector, np.random.default_rng(i)) == data  # drawing inside is the same
            if c.fixed_size:
                assert len(data) == len(c.encode(x[0], drawn=draws))


@either
@pytest.mark.parametrize("d", [1023, 40_001])
@each
def test_long_messages(c: Compressor, d: int, dtype: type) -> None:
    if "lowrank" in str(c) and d == 40_001:
        d = 200 * 201
    x = np.random.default_rng(d).standard_normal(d).astype(dtype)
    x[::7] = 0
    drawn = drawn_for(c, x.shape)
    data = c.encode(x, drawn=drawn)
    assert same(decode(data), c.apply(x, drawn))
    assert 8 * len(data) <= c.bits(d, dtype) + 8 * HEADER


def test_one_vector_a_message() -> None:
    for shape in ((2, 3), (1, 3), (0, 3)):
        with pytest.raises(ValueError, match="encode takes one vector"):
            TopK(1).encode(np.ones(shape))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or inf"):
            TopK(1).encode([1.0, bad])
    with pytest.raises(ValueError, match="is random: pass rng"):
        RandK(1).encode(np.ones(3))
    with pytest.raises(TypeError, match="expected float32 or float64"):
        TopK(1).encode(np.ones(3, np.float16))


def test_layouts_and_kinds_of_vectors() -> None:
    x = np.arange(-5.0, 7.0)
    plain = ScaledSign().encode(x)
    assert ScaledSign().encode(np.repeat(x, 3)[::3]) == plain
    assert ScaledSign().encode(x[::-1].copy()[::-1]) == plain
    assert ScaledSign().encode(x.astype(">f8")) == plain
    assert ScaledSign().encode(x.astype(int)) == plain
    assert ScaledSign().encode(x.tolist()) == plain


@each
def test_decoding_into_a_vector_of_ones_own(c: Compressor) -> None:
    x = np.linspace(-1, 2, 11)
    data = message(c, x)
    out = np.full(11, np.nan)
    assert decode(data, out=out) is out
    assert same(out, decode(data))
    refused = [
        np.zeros(10),
        np.zeros(12),
        np.zeros((1, 11)),
        np.zeros(11, np.float32),
        np.zeros(11, ">f8"),
        np.zeros(22)[::2],
        np.zeros(11)[::-1],
    ]
    for wrong in refused:
        with pytest.raises(ValueError, match=r"the message needs a contiguous float64\(11,\)"):
            decode(data, out=wrong)
        assert not wrong.any()


def test_any_buffer_of_bytes_is_read() -> None:
    data = TopK(2).encode(np.arange(9.0))
    y = decode(data)
    for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert same(decode(buffer), y)
    with pytest.raises(TypeError):
        decode("EF")


def test_the_reader_sets_the_limit() -> None:
    data = TopK(1).encode(np.ones(1000))
    assert decode(data, max_elements=1000).shape == (1000,)
    with pytest.raises(ValueError, match="claims 1000 entries: allow that with max_elements=1000"):
        decode(data, max_elements=999)


# -- as short as promised -------------------------------------------------------------------------


def up(bits: int) -> int:
    """Whole bytes."""
    return -(-bits // 8)


def log2_up(d: int) -> int:
    """ceil(log2 d)."""
    return next(bits for bits in range(64) if 2**bits >= d)


def positions(k: int, d: int) -> int:
    """k positions out of d: ceil(log2 d) bits each, or one bit an entry if that is less."""
    return up(min(k * log2_up(d), d))


def payload_bytes(c: Compressor, d: int, w: int, x: Array) -> int:
    """What each message must take, from its description; w bytes a number."""
    match c:
        case Identity():
            return d * w
        case Sign(zero=1):
            return 1 + up(d)
        case Sign(zero=0):
            return -(-d // 5)  # five to a byte
        case ScaledSign(zero=1):
            return w + up(d)
        case ScaledSign(zero=0):
            return w - (-d // 5)
        case TwoMeans():
            return 2 * w + up(d)
        case TopK(k=k) | RandK(k=k):
            return count(k, d) * w + positions(count(k, d), d)
        case SignTopK(k=k):
            return w + positions(count(k, d), d) + up(count(k, d))
        case QSGD(s=s):
            return w + up(d * (1 + log2_up(s + 1)))
        case TernGrad():
            return w - (-d // 5)
        case Natural():
            return 3 + up(9 * d)
        case NaturalDithering(s=s):
            return w + up(d * log2_up(2 * s + 1))
        case Shared(compressor=RandK(k=k)):
            return 8 + count(k, d) * w
        case Quantised(compressor=TopK(k=k), per_entry=bits):
            return 2 * w + positions(count(k, d), d) + up(count(k, d) * bits)
        case LowRank() | PowerSGD():
            m, n = c.sides(d)
            return w * min(c.rank, m, n) * (m + n)
        case Threshold():
            n = int(np.count_nonzero(c(x)))
            return 8 + positions(n, d) + n * w
    raise NotImplementedError


PLAIN = [c for c in COMPRESSORS if not isinstance(c, Scaled | Contractive | Blockwise)]


@either
@pytest.mark.parametrize("c", PLAIN, ids=str)
def test_every_bit_is_accounted_for(c: Compressor, dtype: type) -> None:
    for d in (1, 2, 8, 9, 128, 1000):
        x = np.sqrt(np.arange(1.0, d + 1)).astype(dtype)
        header = 2 + 1 + 1 + 4 + 1 + len(str(c)) + (1 if d < 128 else 2)
        data = message(c, x)
        assert len(data) == header + payload_bytes(c, d, x.itemsize, x)
        assert HEADER >= 8 + 1 + 96 + 9 + 2


def test_wide_ranges_cost_natural_more_bits() -> None:
    """9 bits for 255 binades, 10 for 511, ..., 13 for all 2098 of float64 with its denormals."""
    for binades, bits in ((255, 9), (256, 10), (511, 10), (512, 11), (1024, 12), (2098, 13)):
        x = np.zeros(800)
        x[0], x[1] = 5e-324, np.ldexp(5e-324, binades - 1)
        data = Natural(nearest=True).encode(x)
        assert len(data) == 8 + 1 + 15 + 2 + 3 + 100 * bits
        assert same(decode(data), x)
        assert 8 * len(data) <= Natural(nearest=True).bits(800) + 8 * HEADER
    small = np.array([1.4e-45, 1.7e38], np.float32)
    assert same(decode(Natural(nearest=True).encode(small)), Natural(nearest=True)(small))


def test_padding_of_nested_blocks_stays_within_the_bound() -> None:
    """Blocks of blocks of ... split a vector into many parts, each filled up to whole bytes."""
    spec = "blockwise:{},blockwise:{},blockwise:{},blockwise:{},blockwise:{},blockwise:{},{}"
    rng = np.random.default_rng(0)
    for inner in ("sign", "signtopk:1", "topk:1", "twomeans"):
        for sizes in ((556, 281, 73, 65, 18, 9), (183, 120, 55, 14, 6, 5), (63, 31, 15, 7, 3, 2)):
            c = compressor(spec.format(*sizes, inner))
            for d in (63, 141, 765, 2078):
                data = c.encode(rng.standard_normal(d))
                assert 8 * len(data) <= c.bits(d) + 8 * HEADER


# -- golden messages ------------------------------------------------------------------------------

_SPEC = importlib.util.spec_from_file_location(
    "add", Path(__file__).parents[2] / "golden" / "add.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)
ENTRIES = golden.load()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e['spec']}-{e['dtype']}")
def test_golden_messages_are_read_for_ever(entry: dict[str, Any]) -> None:
    """Every recorded message decodes to the recorded bits, and today's encoder still sends it."""
    data, dtype = bytes.fromhex(entry["message"]), "<" + entry["dtype"]
    assert decode(data).astype(dtype).tobytes().hex() == entry["decoded"]
    of_lapack = any(name in entry["spec"] for name in ("lowrank", "powersgd"))
    if data[2] == VERSION and not of_lapack:  # each LAPACK rounds as it likes
        x = np.frombuffer(bytes.fromhex(entry["x"]), dtype)
        drawn = golden.from_json(entry["drawn"])
        assert compressor(entry["spec"]).encode(x, drawn=drawn).hex() == entry["message"]


def test_golden_messages_of_every_compressor() -> None:
    assert {type(compressor(e["spec"])) for e in ENTRIES} == set(LIBRARY)
    recorded = {
        (e["spec"], e["dtype"], len(e["decoded"]) // 2 // int(e["dtype"][1])) for e in ENTRIES
    }
    assert set(golden.CASES) <= recorded


# -- hostile bytes --------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """LEB128."""
    head = b""
    while value >= 128:
        head, value = head + bytes([value % 128 + 128]), value // 128
    return head + bytes([value])


def seal(body: bytes, item: int = 8, version: int = VERSION) -> bytes:
    """A message with this body and the right checksum."""
    start = bytes([version, item])
    return struct.pack("<2s2sI", b"EF", start, zlib.crc32(start + body)) + body


def forge(spec: bytes | str, d: int | bytes, payload: bytes = b"", item: int = 8) -> bytes:
    """A message that claims this spec, this dimension and this payload."""
    name = spec.encode() if isinstance(spec, str) else spec
    return seal(
        bytes([len(name)]) + name + (varint(d) if isinstance(d, int) else d) + payload, item
    )


def open_(data: bytes, limit: int = 4096) -> bool:
    """Decode: True if it worked, False if it was refused; anything else is a failure."""
    try:
        y = decode(data, max_elements=limit)
    except ValueError:
        return False
    assert y.ndim == 1
    assert y.size <= limit
    assert np.isfinite(y).all()
    return True


@contextmanager
def memory(most: float) -> Iterator[None]:
    """Fail if the body ever holds more than ``most`` bytes on top of what there was."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= most


def test_forged_messages_pass_for_real_ones() -> None:
    """Otherwise the tests below would test the checksum alone."""
    for c in COMPRESSORS:
        real = message(c, np.linspace(-1, 2, 11))
        assert seal(real[8:]) == real
        assert forge(str(c), 11, real[8 + 1 + len(str(c)) + 1 :]) == real


@either
@each
def test_every_truncation_and_extension_is_refused(c: Compressor, dtype: type) -> None:
    for d in (0, 1, 11):
        data = message(c, np.linspace(-1, 2, d).astype(dtype))
        item = data[3]
        assert open_(data)
        for length in range(len(data)):
            assert not open_(data[:length])
            assert length < 8 or not open_(seal(data[8:length], item))
        for more in (b"\0", b"\xff", b"\0" * 64):
            assert not open_(data + more)
            assert not open_(seal(data[8:] + more, item))


@each
def test_every_damaged_byte_is_noticed(c: Compressor) -> None:
    """A checksum of 32 bits finds every error within one byte."""
    data = message(c, np.linspace(-1, 2, 11))
    for place in range(len(data)):
        for flip in (1, 16, 128, 255):
            damaged = bytearray(data)
            damaged[place] ^= flip
            with pytest.raises(ValueError, match=r"."):
                decode(damaged)


@either
@pytest.mark.parametrize("c", slow_but_some(COMPRESSORS), ids=str)
def test_every_forged_byte_is_harmless(c: Compressor, dtype: type) -> None:
    """With the checksum made right again: a finite vector or ValueError, and little memory."""
    data = message(c, np.array([3.0, -1.0, 0.0, -4.0, 0.5, 0.5, 1e-3], dtype))
    with memory(MB):
        for place in range(8, len(data)):
            for value in {0, 255, data[place] ^ 1, data[place] ^ 16}:
                body = bytearray(data[8:])
                body[place - 8] = value
                open_(seal(bytes(body), data[3]))


@given(
    st.sampled_from([str(c) for c in COMPRESSORS]),
    st.integers(0, 40) | st.integers(0, 2**63 - 1),
    st.binary(max_size=120),
    st.sampled_from([4, 8]),
)
def test_random_payloads_are_harmless(spec: str, d: int, payload: bytes, item: int) -> None:
    open_(forge(spec, d, payload, item))


@given(st.binary(max_size=80))
@example(b"")
@example(b"EF")
@example(b"EF\x01\x08" + bytes(6))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert not open_(data)
    open_(seal(data))
    open_(seal(data, 4))


@given(st.text(max_size=40) | st.text("0123456789.,:=xe-", max_size=30).map("blockwise:".__add__))
def test_random_specs_are_harmless(spec: str) -> None:
    open_(forge(spec.encode()[:255], 3, bytes(24)))


def huge(c: Compressor) -> bytes:
    """2^28 entries claimed, and the payload of a few."""
    return forge(str(c), 2**28, bytes(33))


@each
def test_large_claims_cost_nothing(c: Compressor) -> None:
    """With the default limit: refused before anything of that size is made."""
    with (
        memory(MB),
        pytest.raises(ValueError, match=r"truncated|too many|claims \d+ bits|increase|scales by 0"),
    ):
        decode(huge(c))
    with memory(MB), pytest.raises(ValueError, match=r"claims 1152921504606846976 entries"):
        decode(forge(str(c), 2**60, bytes(33)))


def test_blocks_of_one_entry_cost_nothing_either() -> None:
    """One position among one takes no bits: the payload must still be long enough for its value."""
    for inner in sorted({str(c) for c in COMPRESSORS if not isinstance(c, Blockwise)}):
        for size in (1, 2, 2**27, 2**62):
            with memory(MB):
                assert not open_(forge(f"blockwise:{size},{inner}", 2**28, bytes(33)), 2**28)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


INVALID = {  # a message that no compressor sends, and what is said of it
    "unknown": (forge("nothing", 1, bytes(8)), "no compressor is called"),
    "empty spec": (forge("", 1, bytes(8)), "no compressor is called ''"),
    "not ascii": (forge("sign\xe9".encode("latin-1"), 1, bytes(8)), "names no compressor"),
    "spec cut off": (seal(b"\xffsigns"), "names no compressor"),
    "no body": (seal(b""), "too few"),
    "no dimension": (seal(b"\x04sign"), "dimension does not end"),
    "endless dimension": (forge("sign", b"\xff" * 30), "dimension does not end"),
    "ten digits": (forge("sign", b"\x80" * 9 + b"\x01"), "dimension does not end"),
    "too large": (forge("sign", 2**63 - 1), "claims 9223372036854775807 entries"),
    "future": (seal(b"\x04sign\x00", version=VERSION + 1), "reads up to"),
    "version 0": (seal(b"\x04sign\x00", version=0), "version 0"),
    "half floats": (seal(b"\x04sign\x00", 2), "not 4 or 8"),
    "foreign": (b"GIF89a" + bytes(40), "starts with b'GI'"),
    "payload of nothing": (forge("sign", 0, b"\0"), "1 bytes too many"),
    "nan": (forge("identity", 2, floats(1, np.nan)), "NaN or inf"),
    "inf": (forge("scaledsign", 2, floats(np.inf) + b"\0"), "NaN or inf"),
    "sign bits": (forge("scaledsign", 2, floats(1) + b"\x04"), "padding"),
    "trit byte": (forge("sign:zero=0", 5, b"\xf3"), "the byte 243"),
    "trit padding": (forge("sign:zero=0", 4, b"\x51"), "trits set in its padding"),
    "index beyond": (forge("topk:1", 5, floats(1) + b"\x05"), "strictly below 5"),
    "index twice": (forge("topk:2", 99, floats(1, 1) + b"\x00\x00"), "do not increase"),
    "indices fall": (forge("topk:2", 99, floats(1, 1) + b"\x82\x00"), "do not increase"),
    "index padding": (forge("topk:1", 5, floats(1) + b"\x18"), "padding"),
    "mask too full": (forge("topk:3", 4, floats(1, 1, 1) + b"\x0f"), "does not mark 3 of 4"),
    "mask padding": (forge("topk:3", 4, floats(1, 1, 1) + b"\x17"), "padding"),
    "level": (forge("qsgd:4", 1, floats(1) + b"\x0a"), "a level beyond 4"),
    "minus zero": (forge("qsgd:4", 1, floats(1) + b"\x01"), "negative zero"),
    "natural zero": (forge("natural", 1, b"\0\x80\x09\x01\0"), "an exponent beyond"),
    "natural width 0": (forge("natural", 1, b"\0\x80\0"), "claims 0 bits"),
    "natural width 64": (forge("natural", 1, b"\0\x80\x40" + bytes(8)), "claims 64 bits"),
    "natural large": (forge("natural", 1, b"\x01\x84\x09\x02\0"), "an exponent beyond"),
    "natural small": (forge("natural", 1, b"\xce\x7b\x09\x02\0"), "an exponent beyond"),
    "count": (forge("threshold:abs=1.0", 1, b"\x02" + bytes(23)), "keeps 2 entries of 1"),
    "count below 0": (forge("threshold:abs=1.0", 1, b"\xff" * 8), "keeps -1 entries"),
    "shape": (forge("lowrank:1,shape=1x1", 2, floats(1, 1, 1)), "does not hold d = 2"),
    "product": (forge("lowrank:1", 1, floats(1e200, 1e200)), "beyond float64"),
    "product nan": (forge("lowrank:2,shape=2x2", 4, floats(*[-1e200, 1e200] * 4)), "beyond"),
    "power product": (forge("powersgd:1", 1, floats(1e200, 1e200)), "beyond float64"),
    "dithered level": (forge("dithering:3", 1, floats(1) + b"\x07"), "a level beyond 3"),
    "seed cut off": (forge("shared:randk:1", 2, bytes(12)), "truncated"),
    "ends fall": (forge("quantised:2,topk:1", 1, floats(2, 1) + b"\0"), "above its greatest"),
    "end below 0": (forge("quantised:2,topk:1", 1, floats(-1, 1) + b"\0"), "is negative or"),
    "code padding": (forge("quantised:2,topk:1", 1, floats(1, 1) + b"\x04"), "padding"),
    "factor 0": (forge("contractive,terngrad", 1, floats(0, 1) + b"\0"), "scales by 0.0, not by"),
    "factor 2": (forge("contractive,terngrad", 1, floats(2, 1) + b"\0"), "number in (0, 1]"),
    "factor nan": (forge("contractive,terngrad", 1, floats(np.nan, 1) + b"\0"), "NaN or inf"),
    "scale beyond float32": (forge("scaled:1e300,identity", 1, bytes(4), 4), "beyond float32"),
    "scale": (forge("scaled:1e300,identity", 1, floats(1e300)), "beyond float64"),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_no_compressor_sends_is_refused(name: str) -> None:
    data, words = INVALID[name]
    with memory(MB), pytest.raises(ValueError) as refused:  # noqa: PT011
        decode(data)
    assert words in str(refused.value)


ODD_SPECS = [
    "topk:-1",
    "topk:0",
    "topk:nan",
    "topk:1e999",
    "topk:" + "9" * 240,
    "topk:5e-324",
    "topk:1.0",
    "qsgd:1048576",
    "qsgd:1048577",
    "qsgd:1e9",
    "qsgd:" + "9" * 240,
    "qsgd:-1",
    "qsgd:0x10",
    "threshold:abs=inf",
    "threshold:abs=5e-324",
    "threshold:l2=2",
    "threshold:l2=0.5,abs=1",
    "lowrank:1,shape=1x1",
    "lowrank:99999999999999999999",
    "lowrank:1,shape=" + "9" * 200 + "x1",
    "scaled:5e-324,natural",
    "scaled:1e308,scaled:1e308,identity",
    "scaled:-1,sign",
    "scaled:,",
    "blockwise:1," * 20 + "sign",
    "blockwise:2," * 20 + "topk:1",
    "blockwise:" + "9" * 99 + ",sign",
    "scaled:1," * 27 + "sign",
    "blockwise",
    "blockwise:",
    "blockwise:blockwise",
    ":",
    ",",
    "=",
    "::",
    "sign:zero=0,zero=1",
    "randk:3,unbiased,unbiased",
    "natural:nearest=True",
    "sign:zero=1e0",
]


@pytest.mark.parametrize("spec", ODD_SPECS, ids=[spec[:40] for spec in ODD_SPECS])
def test_odd_specs_in_messages(spec: str) -> None:
    with memory(4 * MB):
        for d in (1, 2, 7, 4096, 2**63 - 1):
            for payload in (b"", bytes(9), b"\xff" * 64, bytes(4096)):
                open_(forge(spec, d, payload))


def test_the_deepest_nesting_is_quick() -> None:
    """Seven levels that each split in two, and a spec longer than any that is sent."""
    sizes = ",".join(f"blockwise:{2**i - 1}" for i in range(8, 2, -1))
    for spec in (f"{sizes},sign", f"{sizes},{sizes},sign"):
        for payload in (b"", bytes(4096)):
            assert not open_(forge(spec, 2**17, payload), 2**17)
    with pytest.raises(ValueError, match="spec is longer than 96 characters"):
        decode(forge("blockwise:2000000," * 13 + "topk:1", 2**20, bytes(11)))


LIMIT = 4  # times the vector and the message: what decoding may take
DEEP = [
    "blockwise:99999," * 5 + "topk:1",
    "scaled:2.0," * 8 + "topk:1",
    "blockwise:1," * 6 + "sign",
    "blockwise:511,blockwise:255,blockwise:127,blockwise:63,qsgd:1",
    "blockwise:4096,scaled:2.0,blockwise:999,lowrank:1",
    "blockwise:1,qsgd:1048576",
    "blockwise:2,threshold:abs=1e-09",
    "quantised:16,topk:1.0",
    "shared:randk:0.9",
    "dithering:256",
]


@pytest.mark.parametrize("spec", [*(str(cs[-1]) for cs in INSTANCES.values()), *DEEP])
def test_no_message_multiplies_memory(spec: str) -> None:
    """One of 280 bytes took 14 times the vector; qsgd and natural took 11 times without nesting."""
    x = np.random.default_rng(0).standard_normal(2**17).astype(np.float32)
    data = message(compressor(spec), x)
    out = np.empty_like(x)
    with memory(LIMIT * (x.nbytes + len(data)) + MB):
        decode(data, out=out)
    assert same(out, decode(data))


def test_what_does_not_fit_into_memory_is_refused() -> None:
    data = forge("topk:1", 2**55, bytes(8) + bytes(7))
    with pytest.raises(ValueError, match=r"36028797018963968 entries do not fit into memory"):
        decode(data, max_elements=2**60)


@pytest.mark.parametrize("name", INVALID)
def test_a_refused_message_leaves_the_vector_alone(name: str) -> None:
    """What lies beyond the dtype shows only in the dense vector, which is checked before."""
    data = INVALID[name][0]
    for d in range(6):
        for dtype in (np.float32, np.float64):
            out = np.full(d, 7, dtype)
            with pytest.raises(ValueError, match=r"."):
                decode(data, out=out)
            assert (out == 7).all()


BEYOND = {  # in the second of two blocks, a number that overflows
    "blockwise:2,scaled:2.0,identity": floats(1, 0, 1e308, 0),
    "scaled:2.0,blockwise:2,identity": floats(1, 0, 1e308, 0),
    "blockwise:2,lowrank:1": floats(1, 1e200, 1, 0, 1e200, 0),
}


@pytest.mark.parametrize("spec", BEYOND)
def test_blocks_beyond_the_dtype_leave_the_vector_alone(spec: str) -> None:
    out = np.full(4, 7.0)
    with pytest.raises(ValueError, match="beyond float64"):
        decode(forge(spec, 4, BEYOND[spec]), out=out)
    assert (out == 7).all()
