"""Packages of Debian and Ubuntu, with the libraries they need."""

import concurrent.futures
import contextlib
import functools
import hashlib
import lzma
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .apt import Archive, archives
from .download import Checksum, download, read_url
from .files import CACHE, digest_of, write_atomically
from .outcome import Unavailable, say
from .unpack import debian_data, unpack_tar

DOWNLOADS_AT_ONCE_MAX = 4
# Suites that move (unstable) drop old package files within days.
PACKAGE_LIST_AGE_SECONDS_MAX = 24 * 3600

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
# Held while package lists are read, lest two trees fetch the same one.
LISTS = threading.Lock()


@dataclass(frozen=True)
class Debian:
    """Packages of one suite, with the libraries they need.

    `packages` bring their libraries along. `alone` are unpacked without theirs, for packages that
    are wanted for a few files only.
    """

    suite: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()

    def unpack(self, root: Path) -> None:
        for package in debian_packages(self):
            unpack_tar(debian_data(package), root)
        link_old_names(root)


class Listing(NamedTuple):
    """A package's paragraph of the list, and the address that its file name is relative to."""

    base: str
    paragraph: str

    def fields(self) -> dict[str, str]:
        return dict(re.findall(r"^([\w-]+): (.*)$", self.paragraph, re.MULTILINE))


def link_old_names(root: Path) -> None:
    """Gives libraries renamed for 64-bit times the name that older programs ask for.

    On the architectures supported here nothing but the name changed.
    """
    for library in root.glob("**/lib*.so.*t64"):
        old_name = library.with_name(library.name.removesuffix("t64"))
        if not old_name.exists():
            old_name.symlink_to(library.name)


def debian_packages(part: Debian) -> list[Path]:
    """Fetches a part's packages and, for those not `alone`, the libraries they need."""
    try:
        return fetch_packages(part, package_list(part.suite))
    except Unavailable:
        # A suite that moves may have replaced a file since its list was fetched.
        return fetch_packages(part, package_list(part.suite, age_seconds_max=0))


def fetch_packages(part: Debian, packages: dict[str, Listing]) -> list[Path]:
    wanted = [*part.packages, *part.alone]
    queue = list(part.packages)
    while queue:
        for dependency in library_dependencies(queue.pop(), packages):
            if dependency not in wanted:
                wanted.append(dependency)
                queue.append(dependency)
    with concurrent.futures.ThreadPoolExecutor(DOWNLOADS_AT_ONCE_MAX) as pool:
        return list(pool.map(lambda name: fetch_package(listing(name, packages)), wanted))


def library_dependencies(name: str, packages: dict[str, Listing]) -> Iterator[str]:
    """What a package depends on, as far as it is shared libraries.

    The rest (perl, debconf, adduser, ...) serves installation and scripts that are not run here.
    """
    fields = listing(name, packages).fields()
    relations = ", ".join(fields[k] for k in ("Pre-Depends", "Depends") if k in fields)
    for relation in filter(None, relations.split(", ")):
        alternatives = [re.split(r"[ :(]", a.strip())[0] for a in relation.split("|")]
        for alternative in alternatives:
            if alternative in packages and is_library(packages[alternative]):
                yield alternative
                break


def is_library(package: Listing) -> bool:
    # Ubuntu puts the component before the section, as in universe/libs.
    return package.fields().get("Section", "").split("/")[-1] == "libs"


def listing(name: str, packages: dict[str, Listing]) -> Listing:
    found = packages.get(name) or packages.get(f"{name}t64")
    if not found:
        raise Unavailable(f"the archive has no package {name} for {ARCHITECTURE}")
    return found


def fetch_package(package: Listing) -> Path:
    fields = package.fields()
    url = f"{package.base}/{fields['Filename']}"
    return download(url, Checksum("sha256", fields["SHA256"]), f"{fields['Package']}.deb")


def package_list(
    suite: str, age_seconds_max: float = PACKAGE_LIST_AGE_SECONDS_MAX
) -> dict[str, Listing]:
    """A suite's packages by name."""
    if not ARCHITECTURE:
        raise Unavailable(f"no Debian packages are known for {platform.machine()}")
    packages = {}
    for archive in archives(suite):
        for component in archive.components:
            with LISTS:
                text = list_of(archive, component, age_seconds_max)
            packages |= {
                p[len("Package: ") : p.index("\n")]: Listing(archive.base, p)
                for p in text.split("\n\n")
                if p.startswith("Package: ")
            }
    return packages


def list_of(archive: Archive, component: str, age_seconds_max: float) -> str:
    name = f"{archive.suite}-{component}-{ARCHITECTURE}-{digest_of(archive.base)[:8]}.Packages"
    path = CACHE / name
    if not path.exists() or time.time() - path.stat().st_mtime > age_seconds_max:
        write_atomically(path, fetch_list(archive, component))
    return path.read_text()


def fetch_list(archive: Archive, component: str) -> str:
    """The list whose checksum is in the suite's signed release file."""
    base = f"{archive.base}/dists/{archive.suite}"
    member = f"{component}/binary-{ARCHITECTURE}/Packages.xz"
    release = release_file(archive)
    sums = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(member)}$", release, re.MULTILINE)
    if not sums:
        raise Unavailable(f"{base}/InRelease does not list {member}")
    # By hash first: the plain name may already be newer than the release file just read.
    folder = f"{base}/{Path(member).parent}"
    for url in (f"{folder}/by-hash/SHA256/{sums[1]}", f"{base}/{member}"):
        with contextlib.suppress(Unavailable):
            packed = read_url(url)
            if hashlib.sha256(packed).hexdigest() == sums[1]:
                return lzma.decompress(packed).decode()
    raise Unavailable(f"{base}/{member} is missing or not what InRelease says; try again later")


@functools.cache
def release_file(archive: Archive) -> str:
    release = read_url(f"{archive.base}/dists/{archive.suite}/InRelease")
    check_signature(release, archive)
    return release.decode()


def check_signature(release: bytes, archive: Archive) -> None:
    """Verifies a release file where the machine has the archive's keys; else says it cannot."""
    keyring = Path(f"/usr/share/keyrings/{archive.distribution}-archive-keyring.gpg")
    gpgv = shutil.which("gpgv")
    if not gpgv or not keyring.exists():
        say(f"note: no gpgv or {keyring.name} here: {archive.suite}'s signature is not verified")
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(release)
        file.flush()
        command = [gpgv, "--status-fd=1", f"--keyring={keyring}", file.name]
        status = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # One good signature is enough: newer suites are also signed with keys not known here.
    if "[GNUPG:] VALIDSIG" not in status or "[GNUPG:] BADSIG" in status:
        raise Unavailable(f"the release file of {archive.suite} is not signed by a known key")
