"""Jars of Maven repositories."""

import os
import shutil
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from .download import Checksum, download, fetch_with_client
from .outcome import Unavailable, output_of
from .unpack import require_x86_64, unpack_tar

COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
# Mirrors that stand in for the central repository.
MIRRORS_CENTRAL = {"*", "central", "external:*"}


@dataclass(frozen=True)
class Maven:
    """A jar, and the archive inside it that is unpacked into `opt/`."""

    group: str
    artifact: str
    version: str
    sha256: str
    member: str

    def unpack(self, root: Path) -> None:
        require_x86_64(self.artifact)
        with zipfile.ZipFile(jar(self)) as archive:
            unpack_tar(BytesIO(archive.read(self.member)), root / "opt")


def jar(part: Maven) -> Path:
    """The jar, from the repository that is named outright, by `mvn`, or from `mvn`'s mirror."""
    checksum, name = Checksum("sha256", part.sha256), f"{part.artifact}.jar"
    repository = os.environ.get("BINPULSE_MAVEN_REPOSITORY")
    mvn = shutil.which("mvn")
    if mvn and not repository:
        coordinates = f"{part.group}:{part.artifact}:{part.version}:jar"
        options = [f"-Dartifact={coordinates}", "-DoutputDirectory=."]
        command = [mvn, "--batch-mode", "--quiet", COPY_GOAL, *options]
        return fetch_with_client(
            lambda folder: output_of(command, folder), checksum, name, coordinates
        )
    base = (repository or mirror_in_settings()).rstrip("/")
    folder = f"{part.group.replace('.', '/')}/{part.artifact}/{part.version}"
    file = f"{part.artifact}-{part.version}.jar"
    return download(f"{base}/{folder}/{file}", checksum, name)


def mirror_in_settings() -> str:
    """The mirror of the central repository in the user's settings."""
    settings = Path.home() / ".m2/settings.xml"
    if settings.exists():
        try:
            root = ElementTree.parse(settings).getroot()
        except ElementTree.ParseError as error:
            raise Unavailable(f"{settings}: {error}") from error
        for mirror in root.iterfind(".//{*}mirror"):
            mirrored = mirror.findtext("{*}mirrorOf", "").split(",")
            url = mirror.findtext("{*}url", "").strip()
            if url and MIRRORS_CENTRAL & set(mirrored) and "!central" not in mirrored:
                return url
    raise Unavailable(
        "comes from a Maven repository: install mvn, or set BINPULSE_MAVEN_REPOSITORY=URL"
    )
