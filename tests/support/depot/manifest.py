"""`.deps/manifest.json`, which tells tests and demo what there is and where."""

import json
import os
import shutil
from pathlib import Path

from .files import DEPS, read_stamp, write_atomically
from .outcome import Unavailable, output_of
from .tree import Tree, fingerprint, version_in
from .venv import MINISTACK, venv_entry, venv_fingerprint


def write_manifest(trees: dict[str, Tree]) -> dict:
    """Lists all that is in `.deps/`, not only what this run was asked for."""
    manifest = {"servers": [], "tools": {}}
    if server := own_server():
        manifest["servers"].append(server)
    for name, tree in trees.items():
        if not (stamp := read_stamp(DEPS / name, fingerprint(tree))):
            # A tool that the machine has is as good.
            manifest["tools"] |= {} if tree.flavor else tools_on_path(tree)
            continue
        if tree.flavor:
            manifest["servers"].append(server_entry(name, tree, stamp["version"]))
        else:
            manifest["tools"] |= {tool: str(DEPS / name / tool) for tool in tree.programs}
    if stamp := read_stamp(DEPS / "venv", venv_fingerprint()):
        manifest[MINISTACK] = venv_entry(stamp["version"])
    write_atomically(DEPS / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return manifest


def tools_on_path(tree: Tree) -> dict[str, str]:
    found = {tool: shutil.which(Path(p.path).name) for tool, p in tree.programs.items()}
    return {tool: path for tool, path in found.items() if path}


def server_entry(name: str, tree: Tree, version: str) -> dict:
    def launcher(program: str) -> str | None:
        return str(DEPS / name / program) if program in tree.programs else None

    return {
        "name": name,
        "flavor": tree.flavor,
        "version": version,
        "mysqld": launcher("mysqld"),
        "basedir": str(DEPS / name / tree.basedir),
        "mysqlbinlog": launcher("mysqlbinlog"),
        "client": launcher("mysql"),
    }


def own_server() -> dict | None:
    """The server that BINPULSE_TEST_MYSQLD names, if it is set."""
    path = os.environ.get("BINPULSE_TEST_MYSQLD")
    if not path:
        return None
    mysqld = Path(path).resolve()
    if not os.access(mysqld, os.X_OK):
        raise Unavailable(f"BINPULSE_TEST_MYSQLD={path} is not a program")
    version_text = output_of([str(mysqld), "--version"])
    return {
        "name": "own",
        "flavor": "mariadb" if "mariadb" in version_text.lower() else "mysql",
        "version": version_in(version_text),
        "mysqld": str(mysqld),
        "basedir": str(mysqld.parent.parent),
        "mysqlbinlog": shutil.which("mysqlbinlog"),
        "client": shutil.which("mysql"),
    }


def print_summary(manifest: dict) -> None:
    for server in manifest["servers"]:
        print(f"{server['name']}  {server['version']}  {server['mysqld']}")
    if MINISTACK in manifest:
        ministack = manifest[MINISTACK]
        print(f"{MINISTACK}  {ministack['version']}  {' '.join(ministack['command'])}")
    for tool, path in manifest["tools"].items():
        print(f"{tool}  {path}")
