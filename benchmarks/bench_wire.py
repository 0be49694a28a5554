"""Messages of 2^22 float32: encode and decode, as multiples of np.copyto into a warm buffer.

Decoding also goes into a warm buffer. LowRank is measured at 2^18 entries and against a copy of as
many, because its singular value decomposition takes seconds beyond.
"""

import common  # noqa: F401  first: it sets the number of threads
import numpy as np
from common import Spread, interleaved, machine, table, verdict

import efsgd

LENGTH, LOWRANK_LENGTH = 2**22, 2**18
FAST = {"scaledsign": 8.0, "topk:0.01": 20.0}
SPECS = (
    "identity",
    "sign",
    "scaledsign",
    "scaledsign:zero=0",
    "blockwise:2048,scaledsign",
    "twomeans",
    "topk:0.01",
    "randk:0.01",
    "signtopk:0.01",
    "threshold:linf=0.5",
    "qsgd:7",
    "terngrad",
    "natural",
    "natural:nearest",
    "lowrank:4",
)


def measure(spec: str) -> list[str]:
    """A row of the table: times a copy, and bytes on the wire per float32 byte."""
    c = efsgd.compressor(spec)
    rng = np.random.default_rng(0)
    length = LOWRANK_LENGTH if spec.startswith("lowrank") else LENGTH
    x = rng.standard_normal(length, dtype=np.float32)
    drawn = c.draw(x.shape, rng)
    message = c.encode(x, drawn=drawn)
    copy, out = np.ones_like(x), np.ones_like(x)
    seconds = interleaved(
        {
            "copy": lambda: np.copyto(copy, x),
            "encode": lambda: c.encode(x, drawn=drawn),
            "decode": lambda: efsgd.decode(message, out=out),
        },
        rounds=15 if spec in FAST else 5,
    )
    both = [a + b for a, b in zip(seconds["encode"], seconds["decode"], strict=True)]
    total = Spread.ratio(both, seconds["copy"])
    parts = [str(Spread.ratio(seconds[name], seconds["copy"])) for name in ("encode", "decode")]
    target = verdict(total, FAST[spec], at_least=False) if spec in FAST else ""
    return [spec, str(total), *parts, f"{len(message) / x.nbytes:.4f}", target]


if __name__ == "__main__":
    machine()
    title = "Times np.copyto of the same vector into a warm buffer (the draws are not counted)"
    columns = ["compressor", "encode + decode", "encode", "decode", "bytes / float32", "target"]
    table(title, columns, [measure(spec) for spec in SPECS])
