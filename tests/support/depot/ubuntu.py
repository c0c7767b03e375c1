"""The catalogue on an Ubuntu machine that has no Debian mirror: what its own suite carries.

The suite's MySQL and MariaDB go by their versions, as in `mysql-8.4`. Tools, and libraries for the
servers that come without, are the suite's too.
"""

import dataclasses
import math
import re

from .catalogue import mariadb, mysql
from .debian import Debian, Listing, package_list
from .outcome import Unavailable, say
from .tree import Tree


def ubuntu_trees(trees: dict[str, Tree], suite: str) -> dict[str, Tree]:
    """The suite's own servers first, then the others, which may or may not be had here."""
    try:
        # Only the names matter here, and they outlive any list.
        packages = package_list(suite, age_seconds_max=math.inf)
    except Unavailable as error:
        say(f"note: cannot tell what Ubuntu {suite} has: {error}")
        packages = {}
    servers = servers_of(suite, packages)
    others = {n: moved(t, suite, packages) for n, t in trees.items() if n not in servers}
    return servers | others


def servers_of(suite: str, packages: dict[str, Listing]) -> dict[str, Tree]:
    """Its servers by name: MySQL before MariaDB, newer before older."""
    servers = {}
    for package in sorted(packages):
        if found := re.fullmatch(r"(mysql|mariadb)-server-core(-[\d.]+)?", package):
            flavor, suffix = found[1], found[2] or ""
            version = version_of(packages[package])
            servers[f"{flavor}-{version}"] = server(flavor, version, suite, suffix)
    return {name: servers[name] for name in sorted(servers, key=order, reverse=True)}


def order(name: str) -> tuple[bool, list[int]]:
    return name.startswith("mysql-"), numbers(name)


def server(flavor: str, version: str, suite: str, suffix: str) -> Tree:
    if flavor == "mysql":
        return mysql(suite, suffix)
    share = "mariadb" if numbers(version) >= [11] else "mysql"
    return mariadb(suite, share, share, suffix)


def version_of(package: Listing) -> str:
    """The first two numbers of a version, after the epoch."""
    found = re.match(r"(?:\d+:)?(\d+\.\d+)", package.fields().get("Version", ""))
    return found[1] if found else "unknown"


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def moved(tree: Tree, suite: str, packages: dict[str, Listing]) -> Tree:
    """The same tree from another suite, unless the suite is what gives the server its version."""
    if tree.flavor and isinstance(tree.parts[0], Debian):
        return tree
    parts = []
    for part in tree.parts:
        if isinstance(part, Debian):
            # A package of its own in newer suites, a part of the server's in older ones.
            promtool = "prometheus" in part.alone and "promtool" in packages
            alone = (*part.alone, "promtool") if promtool else part.alone
            part = dataclasses.replace(part, suite=suite, alone=alone)
        parts.append(part)
    return dataclasses.replace(tree, parts=tuple(parts))
