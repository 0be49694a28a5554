"""The images: unpacked by a decoder, or named, and found again by every stage that follows."""

import subprocess
import sys
from pathlib import Path

from home import STATE
from measure import Context

from efsgd.deep.data.dataset import Dataset, load


def decode(at: Context) -> bool:
    """Whether the data are there and are those that were expected.

    A decoder unpacks FILE.npz into WORK/data/FILE.npz: so they are named after the file, as ever.
    """
    if at.data is None:
        print("no --data: the stages that need images take the stand-in")
        return True
    what = at.data
    if at.decoder is not None:
        place = at.work / "data" / Path(at.data).name
        if not place.exists():
            _unpack(at.decoder, place)
        what = str(place)
    data = load(what)
    known = {"given": at.data, "what": what, "name": data.name, "digest": data.digest}
    known |= {"training images": len(data.y_train), "test images": len(data.y_test)}
    at.home.update(STATE, {"data": known})
    print(f"{data.name}: {known}")
    if at.expect not in (None, data.name):
        print(f"NOT the data that were expected: {at.expect}. They are named by their own digest.")
        return False
    return True


def _unpack(decoder: Path, place: Path) -> None:
    """By ``python DECODER OUT.npz``, which appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f"new-{place.name}")
    subprocess.run([sys.executable, str(decoder), str(new)], check=True)
    new.replace(place)


def loaded(at: Context) -> Dataset | None:
    """What the stage before has found; None where it has found nothing."""
    what = at.home.read(STATE).get("data", {}).get("what")
    return None if what is None else load(what)


def images(at: Context) -> Dataset:
    """Those, else the stand-in: for speed they are as good."""
    found = loaded(at)
    if found is None:
        print("no data: the stand-in")
        return standin(at)
    return found.subset(64, 32) if at.small else found


def standin(at: Context) -> Dataset:
    """Synthetic images, which are always at hand."""
    return load("standin").subset(64, 32) if at.small else load("standin")
