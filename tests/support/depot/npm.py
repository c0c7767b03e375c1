"""Tarballs of npm registries."""

import base64
import os
import re
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .download import Checksum, download, fetch_with_client
from .outcome import Unavailable, output_of
from .unpack import require_x86_64, unpack_tar


@dataclass(frozen=True)
class Npm:
    """A package's tarball, unpacked into `opt/`."""

    package: str
    version: str
    integrity: str

    def unpack(self, root: Path) -> None:
        require_x86_64(self.package)
        unpack_tar(BytesIO(tarball(self).read_bytes()), root / "opt", strip="package/")


def tarball(part: Npm) -> Path:
    """The tarball, by `npm` if it is here, else from the registry that its configuration names."""
    algorithm, _, digest = part.integrity.partition("-")
    checksum, name = Checksum(algorithm, base64.b64decode(digest).hex()), f"{part.package}.tgz"
    if npm := shutil.which("npm"):
        label = f"{part.package}@{part.version}"
        command = [npm, "pack", "--silent", "--ignore-scripts", label]
        return fetch_with_client(lambda folder: output_of(command, folder), checksum, name, label)
    url = f"{configured_registry()}/{part.package}/-/{part.package}-{part.version}.tgz"
    return download(url, checksum, name)


def configured_registry() -> str:
    named = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    settings = Path.home() / ".npmrc"
    if not named and settings.exists():
        line = re.search(r"^\s*registry\s*=\s*(\S+)", settings.read_text(), re.MULTILINE)
        named = line and line[1]
    if not named:
        raise Unavailable("comes from an npm registry: install npm, or set npm_config_registry=URL")
    return named.strip("\"'").rstrip("/")
