"""Places, and how folders and files there come to be complete or not at all."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .outcome import say

SUPPORT = Path(__file__).resolve().parent.parent
DEPS = SUPPORT.parent.parent / ".deps"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binpulse"


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_stamp(folder: Path, expected_fingerprint: str) -> dict | None:
    """What a complete folder says about itself; nothing if it is missing, broken or outdated."""
    try:
        stamp = json.loads((folder / ".stamp.json").read_text())
    except (OSError, ValueError):
        return None
    return stamp if stamp.get("fingerprint") == expected_fingerprint else None


def write_stamp(folder: Path, own_fingerprint: str, version: str) -> None:
    stamp = {"fingerprint": own_fingerprint, "version": version}
    write_atomically(folder / ".stamp.json", json.dumps(stamp) + "\n")


@contextlib.contextmanager
def staging(name: str) -> Iterator[Path]:
    """A folder on the same file system as its final place, gone if anything fails."""
    # The lock is held, so these are of a run that was killed.
    for leftover in DEPS.glob(f".{name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=DEPS))
    # Servers may be started by another user than the one who unpacked them.
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    new.rename(target)


def write_atomically(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lets one run work in the folder at a time; the others wait and then find all done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run of deps.py")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
