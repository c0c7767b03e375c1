"""Scripts that start a tree's programs with the loader and libraries they came with."""

from dataclasses import dataclass
from pathlib import Path

from .outcome import Unavailable


@dataclass(frozen=True)
class Program:
    """A launcher to write: the program it runs, and options put before the caller's own."""

    path: str
    options: tuple[str, ...] = ()
    # SQL that builds the system tables, for servers that have no --initialize-insecure.
    bootstrap: tuple[str, ...] = ()
    bootstrap_end: str = ""


LAUNCHER = """\
#!/bin/sh
# Runs {program} with the loader and the libraries it came with. Written by tests/support/deps.py.
root=${{0%/*}}
case $root in
  /*) ;;
  *) root=$PWD/$root ;;
esac
# Options about option files only count in first place; without one, this machine's are ignored.
case ${{1-}} in
  --no-defaults | --defaults-file=* | --defaults-extra-file=* | --print-defaults)
    first=$1
    shift
    ;;
  *) first=--no-defaults ;;
esac
{bootstrap}\
exec {loader} --library-path {libraries} \\
  "$root/{program}" "$first"{options} "$@"
"""

TOOL_LAUNCHER = """\
#!/bin/sh
# Runs {program} with the loader and the libraries it came with. Written by tests/support/deps.py.
root=${{0%/*}}
exec {loader} --library-path {libraries} \\
  "$root/{program}" "$@"
"""

# This server has no --initialize-insecure: build the system tables the way its install script does.
BOOTSTRAP = """\
initialize= datadir=
for option; do
  case $option in
    --initialize-insecure) initialize=yes ;;
    --datadir=*) datadir=${{option#*=}} ;;
  esac
done
if [ "$initialize" ]; then
  [ -z "$(ls -A "${{datadir:?--initialize-insecure needs --datadir}}" 2>/dev/null)" ] || {{
    echo "--initialize-insecure: $datadir is not empty" >&2
    exit 1
  }}
  mkdir -p "$datadir/mysql" && chmod 700 "$datadir" || exit
  for option; do
    shift
    [ "$option" = --initialize-insecure ] || set -- "$@" "$option"
  done
  {{
    # A bootstrapping server reads one statement a line.
    echo "USE mysql;"
    echo "SET @auth_root_socket = NULL;"
    cat{scripts}
    echo "{bootstrap_end}"
  }} | {loader} --library-path {libraries} \\
    "$root/{program}" "$first"{options} "$@" --bootstrap
  exit
fi
"""


def write_launcher(path: Path, launch: Program, root: Path) -> None:
    for path_needed in (launch.path, *launch.bootstrap):
        if not (root / path_needed).is_file():
            raise Unavailable(f"{path_needed} is not in the packages any more")
    words = {
        "program": launch.path,
        "loader": f'"$root/{loader_in(root)}"',
        "libraries": f'"{libraries_in(root)}"',
        "options": "".join(f' "{option}"' for option in launch.options),
        "bootstrap_end": launch.bootstrap_end,
        "scripts": "".join(f' "$root/{script}"' for script in launch.bootstrap),
    }
    words["bootstrap"] = BOOTSTRAP.format(**words) if launch.bootstrap else ""
    # Only MySQL's programs know about option files.
    template = LAUNCHER if launch.options else TOOL_LAUNCHER
    path.write_text(template.format(**words))
    path.chmod(0o755)


def loader_in(root: Path) -> str:
    for loader in sorted(root.glob("**/ld-linux-*.so.*")):
        if not loader.is_symlink():
            return str(loader.relative_to(root))
    raise Unavailable("the packages hold no dynamic loader")


def libraries_in(root: Path) -> str:
    """Every folder with shared libraries that programs link against, for the loader."""
    folders = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    folders += [root / "opt/lib/private", root / "opt/server"]
    return ":".join(f"$root/{f.relative_to(root)}" for f in folders if f.is_dir())
