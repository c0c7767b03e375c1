"""A folder under `.deps/`: packages unpacked together, with launchers for their programs."""

import re
from dataclasses import dataclass
from pathlib import Path

from .debian import Debian
from .files import DEPS, digest_of, read_stamp, replace_folder, staging, write_stamp
from .launcher import BOOTSTRAP, LAUNCHER, TOOL_LAUNCHER, Program, write_launcher
from .maven import Maven
from .npm import Npm
from .outcome import Unavailable, output_of, say

# Raise it when a change to these files makes trees that are already unpacked unfit.
LAYOUT = 1


@dataclass(frozen=True)
class Tree:
    """What is unpacked into the folder, and which of its programs are for use."""

    parts: tuple[Debian | Maven | Npm, ...]
    programs: dict[str, Program]
    # "mysql" or "mariadb" for servers; nothing for tools.
    flavor: str = ""
    basedir: str = ""
    instead: str = ""


def install_tree(name: str, tree: Tree) -> None:
    """Makes the tree be there; returns at once if it is."""
    target = DEPS / name
    if read_stamp(target, fingerprint(tree)):
        return
    say(f"{name}: fetching")
    try:
        with staging(name) as root:
            for part in tree.parts:
                part.unpack(root)
            for program, launch in tree.programs.items():
                write_launcher(root / program, launch, root)
            version = probe_version(root / next(iter(tree.programs)))
            if tree.flavor and not version.startswith(name.partition("-")[2]):
                say(f"note: the packages for {name} now carry {version}")
            write_stamp(root, fingerprint(tree), version)
            replace_folder(root, target)
    except Unavailable as error:
        raise Unavailable(f"{error} ({tree.instead})") from error


def probe_version(program: Path) -> str:
    """The version a program gives itself; shows as well that it starts here."""
    return version_in(output_of([str(program), "--version"]))


def version_in(text: str) -> str:
    found = re.search(r"(?:Ver |version |\(PostgreSQL\) |server v=)(\d+\.\d+(?:\.\d+)?)", text)
    if not found:
        raise Unavailable(f"cannot read a version in {text.strip()!r}")
    return found[1]


def fingerprint(tree: Tree) -> str:
    """Changes when a tree's description does, so that it is made anew."""
    return digest_of(f"{LAYOUT}{LAUNCHER}{BOOTSTRAP}{TOOL_LAUNCHER}{tree}")
