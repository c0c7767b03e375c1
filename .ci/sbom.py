#!/usr/bin/env python3
"""Writes a software bill of materials: what the released binary is made of, as CycloneDX 1.5 JSON.

It is made from `cargo metadata` and `Cargo.lock`, by the standard library alone: crates that end up in the
binary or run while it is built, with versions, licences, checksums, and what needs what. The crates of tests
are left out. The same sources give the same file.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def metadata(target: str) -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def needed(resolve: dict) -> dict[str, list[str]]:
    """What each crate needs, for those that the root needs other than for its tests."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found: dict[str, list[str]] = {}
    waiting = [resolve["root"]]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        kinds = lambda dep: {kind["kind"] for kind in dep["dep_kinds"]}
        found[name] = sorted(dep["pkg"] for dep in nodes[name]["deps"] if kinds(dep) - {"dev"})
        waiting.extend(found[name])
    return found


def component(package: dict, checksum: str | None) -> dict:
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    made = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "purl": purl,
        "licenses": [{"expression": (package["license"] or "NOASSERTION").replace("/", " OR ")}],
    }
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def bill(target: str) -> dict:
    said = metadata(target)
    packages = {package["id"]: package for package in said["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    parts = {}
    tree = needed(said["resolve"])
    for name in tree:
        package = packages[name]
        parts[name] = component(package, checksums.get((package["name"], package["version"])))
    root = said["resolve"]["root"]
    own = parts.pop(root) | {"type": "application"}
    refs = {name: part["bom-ref"] for name, part in parts.items()} | {root: own["bom-ref"]}
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": own,
            "properties": [{"name": "binpulse:target", "value": target}],
        },
        "components": sorted(parts.values(), key=lambda part: part["bom-ref"]),
        "dependencies": sorted(
            ({"ref": refs[name], "dependsOn": sorted(refs[n] for n in on)} for name, on in tree.items()),
            key=lambda entry: entry["ref"],
        ),
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return body | {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"}


def wrong(made: dict) -> list[str]:
    """What a reader of the bill would miss."""
    found = []
    for part in made["components"]:
        if part["licenses"][0]["expression"] == "NOASSERTION":
            found.append(f"{part['purl']}: no licence")
        if "hashes" not in part:
            found.append(f"{part['purl']}: no checksum: it is not from the registry")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "target/binpulse.cdx.json")
    parser.add_argument("--target", default=TARGET)
    options = parser.parse_args()
    made = bill(options.target)
    if missing := wrong(made):
        print("\n".join(missing), file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(made, indent=1) + "\n")
    print(f"{options.output}: {len(made['components'])} crates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
