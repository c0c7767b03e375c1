"""Base images under the names that the Dockerfiles use, for a machine that can't pull images.

Each is made from Debian packages (debootstrap) and from what `make deps` has fetched, and behaves
like the image of that name as far as the demo needs it. Grafana's does nothing.
"""

import os
import shutil
import subprocess
from pathlib import Path

from engine import CACHE, Engine, Unavailable

ROOT = Path(__file__).resolve().parents[2]
DEPS = ROOT / ".deps"
PACKAGES = "ca-certificates,gcc,libc6-dev,python3,python3-pip"
BASE = "binpulse-lookalike-base:local"
NONROOT = 65532

MYSQL_ENTRYPOINT = r"""#!/bin/sh
# What the official image's entry point does with these variables, no more.
set -eu
mysqld=/opt/mysql-9.7/mysqld
data=/var/lib/mysql
client() { /opt/mysql-9.7/mysql --socket=/tmp/init.sock --user=root "$@"; }
if [ ! -d "$data/mysql" ]; then
  "$mysqld" --initialize-insecure --datadir="$data" --user=mysql
  "$mysqld" --datadir="$data" --user=mysql --skip-networking --socket=/tmp/init.sock "$@" &
  server=$!
  until client -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
  client <<SQL
CREATE DATABASE $MYSQL_DATABASE;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON $MYSQL_DATABASE.* TO '$MYSQL_USER'@'%';
SQL
  for file in /docker-entrypoint-initdb.d/*.sql; do
    # The official image reads these as the user mysql.
    su -s /bin/sh mysql -c "cat '$file'" | client
  done
  client <<SQL
CREATE USER 'root'@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
SQL
  kill "$server"
  wait "$server"
fi
exec "$mysqld" --datadir="$data" --user=mysql --socket=/tmp/mysqld.sock "$@"
"""


class Lookalikes:
    """Makes base images. Remembers nothing: an image that exists is kept."""

    def __init__(self, engine: Engine, folder: Path):
        self.engine = engine
        self.folder = folder

    def make(self, name: str) -> None:
        makers = {
            "rust": self.rust,
            "distroless": self.distroless,
            "mysql": self.mysql,
            "python": self.python,
            "prometheus": lambda tag: self.tree(tag, "promtool", "prometheus", "/prometheus"),
            "alertmanager": lambda tag: self.tree(tag, "alertmanager", "alertmanager", "/alertmanager"),
            "grafana": self.nothing,
        }
        for word, maker in makers.items():
            if word in name:
                print(f"making a look-alike of {name}", flush=True)
                return maker(name)
        raise Unavailable(f"no look-alike of {name}")

    def base(self) -> Path:
        """Debian in a folder, and as an image."""
        base = CACHE / "tools" / "debian-bookworm"
        if not base.exists():
            if shutil.which("debootstrap") is None:
                raise Unavailable("images can't be pulled, and there is no debootstrap")
            part = base.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(part)]
            mirror = os.environ.get("BINPULSE_DEBIAN_MIRROR") or sources_mirror()
            subprocess.run(command + ([mirror] if mirror else []), check=True, stdout=subprocess.DEVNULL)
            part.rename(base)
        return base

    def base_image(self) -> None:
        if not self.engine.has_image(BASE):
            self.engine.import_folder(self.base(), ["."], BASE)

    def build(self, tag: str, dockerfile: str, context: Path) -> None:
        self.base_image()
        self.engine.build(tag, context, dockerfile_text=dockerfile)

    def context(self, name: str) -> Path:
        context = self.folder / f"lookalike-{name}"
        context.mkdir()
        return context

    def rust(self, tag: str) -> None:
        """This machine's compiler, and all crates: a build in it needs no network."""
        sysroot = subprocess.run(
            ["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True
        ).stdout.strip()
        context = self.context("rust")
        for part in ["bin", "lib"]:
            shutil.copytree(
                Path(sysroot, part), context / "rust" / part, symlinks=True
            )
        config = subprocess.run(
            ["cargo", "vendor", "--locked", "--versioned-dirs", str(context / "vendor")],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        config = config.replace(str(context / "vendor"), "/usr/local/vendor")
        (context / "config.toml").write_text(config)
        # Not optimised: what is tested is that the image builds and runs.
        dockerfile = f"""FROM {BASE}
COPY rust /usr/local
COPY vendor /usr/local/vendor
COPY config.toml /usr/local/cargo/config.toml
ENV CARGO_HOME=/usr/local/cargo CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off
"""
        self.build(tag, dockerfile, context)

    def distroless(self, tag: str) -> None:
        """Libraries and certificates; no shell."""
        wanted = ["lib", "lib64", "usr/lib/x86_64-linux-gnu", "usr/lib64", "etc/ssl", "usr/share/ca-certificates"]
        base = self.base()
        self.engine.import_folder(base, [name for name in wanted if (base / name).exists()], tag)

    def mysql(self, tag: str) -> None:
        context = self.context("mysql")
        shutil.copytree(DEPS / "mysql-9.7", context / "mysql", symlinks=True)
        (context / "entrypoint").write_text(MYSQL_ENTRYPOINT)
        dockerfile = f"""FROM {BASE}
RUN useradd --system mysql && install -d -o mysql /var/lib/mysql /docker-entrypoint-initdb.d
COPY mysql /opt/mysql-9.7
COPY --chmod=0555 entrypoint /usr/local/bin/docker-entrypoint.sh
RUN printf '#!/bin/sh\\nexec /opt/mysql-9.7/mysqladmin "$@"\\n' >/usr/bin/mysqladmin && chmod 755 /usr/bin/mysqladmin
VOLUME /var/lib/mysql
ENTRYPOINT ["docker-entrypoint.sh"]
"""
        self.build(tag, dockerfile, context)

    def python(self, tag: str) -> None:
        """Debian's Python, with the wheels that the stand-in's Dockerfile asks for."""
        context = self.context("python")
        wanted = (ROOT / "docker/standin/Dockerfile").read_text().split("--no-cache-dir ")[1].split()[0]
        subprocess.run(
            ["python3", "-m", "pip", "download", "--quiet", "--dest", str(context / "wheels"), wanted],
            check=True,
        )
        dockerfile = f"""FROM {BASE}
COPY wheels /wheels
RUN ln -s /usr/bin/python3 /usr/local/bin/python
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_BREAK_SYSTEM_PACKAGES=1
"""
        self.build(tag, dockerfile, context)

    def tree(self, tag: str, tree: str, program: str, data: str) -> None:
        context = self.context(program)
        shutil.copytree(DEPS / tree, context / "tree", symlinks=True)
        # Debian's Alertmanager has its templates here.
        (context / "tree/usr/share/prometheus").mkdir(exist_ok=True)
        dockerfile = f"""FROM {BASE}
COPY tree /opt/{tree}
COPY tree/usr/share/prometheus /usr/share/prometheus
RUN install -d -o nobody {data}
USER nobody
VOLUME {data}
WORKDIR {data}
ENTRYPOINT ["/opt/{tree}/{program}"]
"""
        self.build(tag, dockerfile, context)

    def nothing(self, tag: str) -> None:
        self.build(tag, f'FROM {BASE}\nUSER nobody\nCMD ["sleep", "infinity"]\n', self.context("nothing"))


def sources_mirror() -> str | None:
    """The mirror that this machine's apt uses."""
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]:
        if path.exists():
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("URIs:", "deb") and words[1].startswith("http"):
                    return words[1]
    return None
