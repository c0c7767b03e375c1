"""Archives: what of them is kept, and how a .deb is opened."""

import io
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

from .outcome import Unavailable

UNWANTED = ("usr/share/doc/", "usr/share/man/", "usr/share/lintian/", "usr/share/locale/", "etc/")


def require_x86_64(what: str) -> None:
    if platform.machine() != "x86_64":
        raise Unavailable(f"{what} is built for x86_64, and this machine is {platform.machine()}")


def unpack_tar(archive: io.BufferedIOBase, root: Path, strip: str = "") -> None:
    """Unpacks everything that a program might want at run time."""
    with tarfile.open(fileobj=archive) as tar:
        # What is dangerous is dealt with below; Python's own choice changed between releases.
        tar.extraction_filter = lambda member, _: member
        for member in tar:
            member.name = member.name.removeprefix("./").removeprefix(strip).lstrip("/")
            if not member.name or member.name.startswith(UNWANTED) or ".." in member.name:
                continue
            # Owned and removable by whoever runs the tests; never set-user-id.
            member.uid, member.gid = os.getuid(), os.getgid()
            member.mode = (member.mode & 0o777) | (0o755 if member.isdir() else 0o644)
            tar.extract(member, root)


def debian_data(package: Path) -> io.BytesIO:
    """The archive of files inside a .deb, which is an `ar` of three members."""
    content = package.read_bytes()
    at = len(b"!<arch>\n")
    while at < len(content):
        header = content[at : at + 60]
        name, length = header[:16].decode().strip(" /"), int(header[48:58])
        at += 60
        if name.startswith("data.tar"):
            return plain_tar(name, content[at : at + length], package)
        at += length + length % 2
    raise Unavailable(f"{package} holds no files; delete it and try again")


def plain_tar(name: str, data: bytes, package: Path) -> io.BytesIO:
    """Undoes Zstandard, Ubuntu's choice, which Python's tarfile may not know."""
    if not name.endswith(".zst"):
        return io.BytesIO(data)
    if zstd := shutil.which("zstd"):
        unpacked = subprocess.run([zstd, "-dc"], input=data, capture_output=True, check=True)
    elif dpkg := shutil.which("dpkg-deb"):
        command = [dpkg, "--fsys-tarfile", str(package)]
        unpacked = subprocess.run(command, capture_output=True, check=True)
    else:
        raise Unavailable(f"{package.name} needs zstd or dpkg-deb, and neither is on PATH")
    return io.BytesIO(unpacked.stdout)
