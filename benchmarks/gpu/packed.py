"""The stand-in in a packed file, as real images may be: JPEG scans, and a decoder beside it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from efsgd.deep.data.dataset import load

DECODER = '''"""python standin_from_jpeg.py OUT.npz"""
import io
import pathlib
import sys

import numpy as np
from PIL import Image

with np.load(pathlib.Path(__file__).with_name("standin_jpeg.npz")) as packed:
    scans, ends, labels = packed["scans"].tobytes(), packed["ends"], packed["labels"]
    n_train = int(packed["n_train"])
starts = [0, *ends[:-1]]
x = np.stack([np.asarray(Image.open(io.BytesIO(scans[a:b]))) for a, b in zip(starts, ends)])
np.savez(sys.argv[1], x_train=x[:n_train], y_train=labels[:n_train], x_test=x[n_train:],
         y_test=labels[n_train:], classes=np.arange(10).astype(str))
'''


def pack(folder: Path, train: int, test: int) -> tuple[Path, Path]:
    """Write the packed file and its decoder; returns their paths."""
    data = load("standin").subset(train, test)
    scans = []
    for image in (*data.x_train, *data.x_test):
        scan = io.BytesIO()
        Image.fromarray(image).save(scan, "JPEG", quality=75)
        scans.append(scan.getvalue())
    file, decoder = folder / "standin_jpeg.npz", folder / "standin_from_jpeg.py"
    np.savez(
        file,
        scans=np.frombuffer(b"".join(scans), np.uint8),
        ends=np.cumsum([len(scan) for scan in scans]),
        labels=np.concatenate([data.y_train, data.y_test]),
        n_train=train,
    )
    decoder.write_text(DECODER, encoding="utf-8")
    return file, decoder
