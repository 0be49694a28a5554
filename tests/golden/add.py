"""Record messages of compressors that have none yet: ``python tests/golden/add.py`` from the root.

What is recorded stays: a message is evidence of what an older version sent, and every newer decoder
must read it. The script only ever appends; ``test_wire.py`` checks each entry on every run.

An entry holds the spec, the dtype, x and C(x) as little-endian hexadecimal bytes, what was drawn
(null, an array, or {"parts": [...]} for blocks) and the message. The entries of x are small
multiples of 1/4, whose sums are exact: no machine can round them differently, except in the
singular value decomposition of LowRank and the QR decomposition of PowerSGD.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from efsgd import compressor, decode

FILE = Path(__file__).with_name("messages.json")
X = [2.0, -0.75, 0.0, -4.0, 1.5, 0.25, 3.0, -1.25, 3.0, -0.0, 0.5]
CASES = [  # spec, dtype, d
    ("identity", "f4", 11),
    ("sign", "f4", 11),
    ("sign:zero=0", "f8", 11),
    ("scaledsign", "f4", 11),
    ("scaledsign", "f8", 8),
    ("scaledsign", "f8", 0),
    ("scaledsign:zero=0", "f4", 11),
    ("twomeans", "f4", 11),
    ("topk:2", "f4", 11),
    ("topk:0.75", "f8", 11),
    ("topk:1", "f8", 1),
    ("randk:2", "f4", 11),
    ("randk:6,unbiased", "f8", 11),
    ("qsgd:1", "f4", 11),
    ("qsgd:255", "f8", 11),
    ("terngrad", "f4", 11),
    ("natural", "f4", 11),
    ("natural:nearest", "f8", 11),
    ("lowrank:1", "f4", 8),
    ("lowrank:2,shape=3x3", "f8", 9),
    ("signtopk:3", "f4", 11),
    ("threshold:l2=0.5", "f4", 11),
    ("threshold:linf=0.5", "f8", 11),
    ("threshold:abs=1.25", "f4", 11),
    ("scaled:0.25,topk:3", "f4", 11),
    ("scaled:0.5,terngrad", "f8", 11),
    ("blockwise:4,scaledsign", "f4", 11),
    ("blockwise:4,randk:2,unbiased", "f4", 11),
    ("blockwise:5,natural", "f8", 11),
    ("contractive,qsgd:1", "f4", 11),
    ("contractive,randk:6,unbiased", "f8", 11),
    ("blockwise:4,contractive,terngrad", "f4", 11),
    ("shared:randk:2", "f4", 11),
    ("contractive,shared:randk:3,unbiased", "f8", 11),
    ("quantised:4,topk:6", "f4", 11),
    ("blockwise:4,quantised:2,topk:3", "f8", 11),
    ("dithering:1", "f4", 11),
    ("dithering:4", "f8", 11),
    ("powersgd:1", "f4", 8),
    ("powersgd:2,shape=3x3", "f8", 9),
]


def to_json(drawn: Any) -> Any:
    """What was drawn, as JSON."""
    if isinstance(drawn, list):
        return {"parts": [to_json(part) for part in drawn]}
    return None if drawn is None else drawn.tolist()


def from_json(drawn: Any) -> Any:
    """What ``to_json`` was given."""
    if isinstance(drawn, dict):
        return [from_json(part) for part in drawn["parts"]]
    return None if drawn is None else np.array(drawn)


def entry(spec: str, dtype: str, d: int) -> dict[str, Any]:
    """The entry of one case, as today's code sends it."""
    c, x = compressor(spec), np.array(X[:d], "<" + dtype)
    drawn = c.draw(x.shape, np.random.default_rng(2026))
    message = c.encode(x, drawn=drawn)
    return {
        "spec": spec,
        "dtype": dtype,
        "x": x.tobytes().hex(),
        "drawn": to_json(drawn),
        "message": message.hex(),
        "decoded": decode(message).astype("<" + dtype).tobytes().hex(),
    }


def load() -> list[dict[str, Any]]:
    """Everything recorded so far."""
    entries: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else []
    return entries


def main() -> None:
    """Append an entry for every case that has none with today's version of the format."""
    entries = load()
    known = {(e["spec"], e["dtype"], len(e["x"]), e["message"][4:6]) for e in entries}
    for case in CASES:
        new = entry(*case)
        if (new["spec"], new["dtype"], len(new["x"]), new["message"][4:6]) not in known:
            entries.append(new)
    FILE.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


if __name__ == "__main__":
    main()
