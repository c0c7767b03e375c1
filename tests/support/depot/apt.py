"""Where this machine gets Debian's and Ubuntu's packages: its own apt sources, or a variable."""

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .download import read_url
from .outcome import Unavailable

MIRROR_VARIABLE = "BINPULSE_DEBIAN_MIRROR"
APT = Path("/etc/apt")
# Later ones carry newer packages of the same names.
UBUNTU_POCKETS = ("", "-security", "-updates")
UBUNTU_COMPONENTS = {"main", "universe"}
DEBIAN_SUITES_MOVING = {"stable", "testing", "unstable", "sid"}


@dataclass(frozen=True)
class Archive:
    """One suite at one address, and whose keys sign it."""

    base: str
    suite: str
    components: tuple[str, ...]
    distribution: str


@dataclass(frozen=True)
class Source:
    """An entry of apt's configuration."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]

    def base(self) -> str:
        """The address itself, which for apt's lists of mirrors is their first one."""
        if not self.uri.startswith("mirror"):
            return self.uri.rstrip("/")
        address = re.sub(r"^mirror\+", "", re.sub(r"^mirror:", "http:", self.uri))
        words = re.sub(r"#.*", "", read_url(address).decode()).split()
        if not words:
            raise Unavailable(f"{address} names no mirror")
        return words[0].rstrip("/")


def archives(suite: str) -> list[Archive]:
    """Where a suite's packages are, oldest first."""
    if suite == ubuntu_suite():
        return list(ubuntu_archives(suite))
    return [Archive(debian_mirror(), suite, ("main",), "debian")]


def ubuntu_archives(suite: str) -> Iterator[Archive]:
    for pocket in UBUNTU_POCKETS:
        for source in apt_sources():
            if suite + pocket in source.suites:
                components = tuple(c for c in source.components if c in UBUNTU_COMPONENTS)
                yield Archive(source.base(), suite + pocket, components, "ubuntu")


def ubuntu_suite() -> str | None:
    """This machine's suite, if packages are to come from Ubuntu for want of a Debian mirror."""
    release = os_release()
    if release.get("ID") != "ubuntu" or os.environ.get(MIRROR_VARIABLE):
        return None
    return release.get("VERSION_CODENAME")


def debian_mirror() -> str:
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return mirror.rstrip("/")
    release = os_release()
    if release.get("ID") == "debian":
        suites = {release.get("VERSION_CODENAME", ""), *DEBIAN_SUITES_MOVING}
        for source in apt_sources():
            if suites.intersection(source.suites) and "main" in source.components:
                return source.base()
    raise Unavailable(
        "is a Debian package, and this machine's apt sources name no Debian mirror: "
        f"set {MIRROR_VARIABLE}=URL"
    )


def os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    text = path.read_text() if path.exists() else ""
    return {k: v.strip("\"'") for k, v in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


@functools.cache
def apt_sources() -> tuple[Source, ...]:
    """The binary package sources, from files of both of apt's formats."""
    lists = [APT / "sources.list", *sorted(APT.glob("sources.list.d/*.list"))]
    sources = [s for path in lists if path.is_file() for s in one_line_sources(path.read_text())]
    for path in sorted(APT.glob("sources.list.d/*.sources")):
        sources += paragraph_sources(path.read_text())
    return tuple(sources)


def one_line_sources(text: str) -> Iterator[Source]:
    for line in re.findall(r"^\s*deb\s+(?:\[.*?\]\s*)?([^#\n]+)", text, re.MULTILINE):
        uri, *words = line.split()
        if words:
            yield Source(uri, (words[0],), tuple(words[1:]))


def paragraph_sources(text: str) -> Iterator[Source]:
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        pairs = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        fields = {key.lower(): value.split() for key, value in pairs}
        if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        for uri in fields.get("uris", []):
            yield Source(uri, tuple(fields.get("suites", [])), tuple(fields.get("components", [])))
