"""The images: unpacked by a decoder or loaded by name, and found again by later stages."""

import subprocess
import sys
from pathlib import Path

from measure import Context
from output import STATE

from efsgd.deep.data.dataset import Dataset, load


def decode(context: Context) -> bool:
    """Find or unpack the data; whether they are there and are the expected ones.

    A decoder unpacks FILE.npz to WORK/data/FILE.npz, so that they are named after the file.
    """
    if context.data is None:
        print("no --data: the stages that need images take the stand-in")
        return True
    source = context.data
    if context.decoder is not None:
        path = context.work / "data" / Path(source).name
        if not path.exists():
            _unpack(context.decoder, path)
        source = str(path)
    data = load(source)
    record = {
        "given": context.data,
        "what": source,
        "name": data.name,
        "digest": data.digest,
        "training images": len(data.y_train),
        "test images": len(data.y_test),
    }
    context.output.update(STATE, {"data": record})
    print(f"{data.name}: {record}")
    if context.expect not in (None, data.name):
        print(
            f"NOT the data that were expected: {context.expect}. "
            "They are named by their own digest."
        )
        return False
    return True


def _unpack(decoder: Path, path: Path) -> None:
    """Run ``python DECODER OUT.npz``; the file appears completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incomplete = path.with_name(f"new-{path.name}")
    subprocess.run([sys.executable, str(decoder), str(incomplete)], check=True)
    incomplete.replace(path)


def decoded_images(context: Context) -> Dataset | None:
    """The images that the stage decode has found; None where there are none."""
    source = context.output.read(STATE).get("data", {}).get("what")
    return None if source is None else load(source)


def images_or_standin(context: Context) -> Dataset:
    """The decoded images, else the stand-in, which does as well for speed."""
    images = decoded_images(context)
    if images is None:
        print("no data: the stand-in")
        return standin(context)
    return images.subset(64, 32) if context.small else images


def standin(context: Context) -> Dataset:
    """Synthetic images, which need no file."""
    return load("standin").subset(64, 32) if context.small else load("standin")
