"""Where compilers keep native code: in folders that nobody else can write to.

What lies in such a folder is run. The default of torch is in the temporary folder, which all users
share, under a name that anyone can guess and make first.
"""

from __future__ import annotations

import logging
import os
import stat
from importlib import import_module
from pathlib import Path

import torch

log = logging.getLogger("efsgd.deep")


def own_compiler_cache() -> None:
    """See to it that torch.compile uses a folder of the user's own from now on, and log a change.

    The choice stands in the environment of the process, where torch itself puts it. Raises
    PermissionError where there is no such folder.
    """
    folder = Path(import_module("torch._inductor.codecache").cache_dir())  # it makes the folder
    _replace("TORCHINDUCTOR_CACHE_DIR", folder)
    # torch sets Triton's folder late: what Triton needs for the device lies in its default by then
    if "TRITON_CACHE_DIR" in os.environ or torch.cuda.is_available():
        own_triton_cache()


def own_triton_cache() -> None:
    """The same for Triton, which keeps its code in the home folder if nothing else is said."""
    home = os.environ.get("TRITON_HOME", os.path.expanduser("~/"))
    default = Path(home, ".triton", "cache")
    _replace("TRITON_CACHE_DIR", Path(os.environ.get("TRITON_CACHE_DIR", default)))


def _replace(variable: str, folder: Path) -> None:
    """Set a variable of the environment if ``folder`` is not the user's own."""
    if _made(folder):
        return
    # Not below ~/.cache/efsgd: it holds data, which a group may share. Where the user's files are
    # the group's by default, so is ~/.cache, but seldom the home folder.
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    rooms = Path(caches, "efsgd-compiled"), Path(os.path.expanduser("~"), ".efsgd-compiled")
    name = variable.split("_")[0].lower()
    own = next((room / name for room in rooms if _made(room / name)), None)
    if own is None:
        raise PermissionError(
            f"others can write to {folder}, and to {rooms[0]} and {rooms[1]} or above: "
            f"set {variable} to a folder of your own"
        )
    log.warning("others can write to %s: EFSGD keeps compiled code in %s", folder, own)
    os.environ[variable] = str(own)


def _made(folder: Path) -> bool:
    """Whether the folder is there, made if need be, and nobody else can change what it holds."""
    try:
        for place in (*reversed(folder.parents), folder):  # mkdir's own parents heed no mode
            place.mkdir(mode=0o700, exist_ok=True)
        return is_own(folder)
    except OSError:
        return False


def is_own(folder: Path) -> bool:
    """Whether only this user, and root, can change what lies in a folder, or the way to it.

    So is what will be made in it, with the present umask. A folder above it that all can write to
    must be sticky, as the temporary folder is. Raises OSError where it cannot be looked at.
    """
    if not hasattr(os, "getuid"):  # on Windows temporary folders belong to one user
        return True
    folder = folder.absolute()
    return all(
        _guarded(place, last=place in (folder, folder.resolve()))
        for way in (folder, folder.resolve())  # a link is looked at, and so is where it leads
        for place in (way, *way.parents)
    )


def _guarded(place: Path, last: bool) -> bool:
    status = place.lstat()
    if status.st_uid not in (os.getuid(), 0):
        return False
    if stat.S_ISLNK(status.st_mode):  # its mode says nothing
        return True
    mode = status.st_mode
    if last:  # who may enter it can write to what the umask lets them write to
        mode |= ((mode & (stat.S_IXGRP | stat.S_IXOTH)) << 1) & ~_umask()
    others = mode & stat.S_IWOTH
    if status.st_gid != os.getuid():  # else the group of this user alone, which has its number
        others |= mode & stat.S_IWGRP
    return not others or (not last and bool(mode & stat.S_ISVTX))


def _umask() -> int:
    umask = os.umask(0o077)  # it can be read only by setting it
    os.umask(umask)
    return umask
