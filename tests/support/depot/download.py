"""Files by address, verified and kept in the user's cache."""

import hashlib
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .files import CACHE, write_atomically
from .outcome import Unavailable

DOWNLOAD_ATTEMPTS_MAX = 4
DOWNLOAD_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Checksum:
    algorithm: str
    hex: str

    def fits(self, content: bytes) -> bool:
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex


def download(url: str, checksum: Checksum, name: str) -> Path:
    return cached(checksum, name, url, lambda: read_url(url))


def fetch_with_client(
    client: Callable[[Path], object], checksum: Checksum, name: str, label: str
) -> Path:
    """A file that a package manager's client puts into the folder it is given."""

    def fetch() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            client(Path(folder))
            files = [path for path in Path(folder).iterdir() if path.is_file()]
            if len(files) != 1:
                raise Unavailable(f"{label}: the client left {len(files)} files instead of one")
            return files[0].read_bytes()

    return cached(checksum, name, label, fetch)


def cached(checksum: Checksum, name: str, label: str, fetch: Callable[[], bytes]) -> Path:
    """A file of the cache, fetched unless it is there; its checksum is verified either way."""
    path = CACHE / f"{checksum.hex[:16]}-{name}"
    if path.exists() and checksum.fits(path.read_bytes()):
        return path
    content = fetch()
    if not checksum.fits(content):
        raise Unavailable(f"{label}: the {checksum.algorithm} checksum is wrong")
    write_atomically(path, content)
    return path


def read_url(url: str) -> bytes:
    # A folder of this machine does not get better by waiting.
    attempts_max = 1 if url.startswith("file:") else DOWNLOAD_ATTEMPTS_MAX
    for attempt in range(1, attempts_max + 1):
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == attempts_max:
                raise Unavailable(f"could not fetch {url}: {error}") from error
        except (OSError, ValueError) as error:
            if attempt == attempts_max:
                raise Unavailable(f"could not fetch {url}: {error}") from error
        time.sleep(attempt)
    raise AssertionError("the last attempt returns or raises")
