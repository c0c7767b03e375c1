"""A Docker engine and Compose v2: those of this machine, or private ones.

An engine that answers is used. Otherwise, as root and with `dockerd` installed, a private engine is
started with a data folder and a socket of its own. Compose v2 is taken from the client's plugins,
or built once from its Go module.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

COMPOSE_MODULE = "github.com/docker/compose/v2@v2.40.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binpulse"
START_SECONDS = 30


class Unavailable(Exception):
    """What the test needs and this machine does not have."""


def answers(client: str) -> bool:
    return shutil.which(client) is not None and quiet([client, "info"]) == 0


def quiet(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


class Engine:
    """A running engine. `client` is a Docker client that can build with BuildKit."""

    def __init__(self, folder: Path):
        self.process = None
        self.folder = folder
        if not answers("docker"):
            self.start()
        self.client = self.buildkit_client()

    def start(self) -> None:
        if shutil.which("docker") is None:
            raise Unavailable("no Docker client")
        if shutil.which("dockerd") is None or os.geteuid() != 0:
            raise Unavailable("no Docker engine answers, and none can be started (root and dockerd)")
        os.environ["DOCKER_HOST"] = f"unix://{self.folder}/docker.sock"
        log = (self.folder / "dockerd.log").open("w")
        self.process = subprocess.Popen(
            [
                "dockerd",
                f"--data-root={self.folder}/data",
                f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/pid",
                f"--host={os.environ['DOCKER_HOST']}",
            ],
            stdout=log,
            stderr=log,
        )
        deadline = time.monotonic() + START_SECONDS
        while not answers("docker"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "dockerd.log").read_text().splitlines()[-1:]
                self.stop()
                raise Unavailable(f"dockerd does not start: {''.join(last)}")
            time.sleep(0.5)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def has_image(self, name: str) -> bool:
        return quiet([self.client, "image", "inspect", name]) == 0

    def pulls(self, name: str) -> bool:
        return quiet([self.client, "pull", "--quiet", name]) == 0

    def import_folder(self, folder: Path, names: list[str], tag: str) -> None:
        packed = subprocess.Popen(["tar", "-C", str(folder), "-c", *names], stdout=subprocess.PIPE)
        subprocess.run([self.client, "import", "-", tag], stdin=packed.stdout, check=True, capture_output=True)
        if packed.wait() != 0:
            raise RuntimeError(f"tar of {folder} failed")

    def build(
        self,
        tag: str,
        context: Path,
        dockerfile: Path | None = None,
        dockerfile_text: str = "",
        target: str | None = None,
    ) -> None:
        """Builds an image; what the build printed is shown only if it failed."""
        source = str(dockerfile) if dockerfile else "-"
        command = [self.client, "build", "--progress=plain", "--file", source, "--tag", tag, str(context)]
        if not dockerfile:
            path = self.folder / f"{tag.replace('/', '-').replace(':', '-')}.Dockerfile"
            path.write_text(dockerfile_text)
            command[4] = str(path)
        if target:
            command[2:2] = ["--target", target]
        built = subprocess.run(
            command,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            raise RuntimeError(f"{tag} can't be built:\n{built.stdout[-8000:]}")

    @staticmethod
    def buildkit_client() -> str:
        """Newer clients build with the plugin buildx; Docker 20.10's builds with BuildKit itself."""
        if quiet(["docker", "buildx", "version"]) == 0:
            return "docker"
        for client in dict.fromkeys(["docker", "/usr/bin/docker"]):
            version = subprocess.run([client, "--version"], capture_output=True, text=True, check=False)
            if version.returncode == 0 and int(version.stdout.split()[2].split(".")[0]) < 23:
                return client
        raise Unavailable("the Docker client has no buildx plugin")


def compose_command() -> list[str]:
    found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if found.returncode == 0:
        return ["docker", "compose"]
    built = CACHE / "tools" / "bin" / "docker-compose"
    if not built.exists():
        build_compose(built)
    return [str(built)]


def build_compose(target: Path) -> None:
    if shutil.which("go") is None:
        raise Unavailable("no Compose v2, and no Go to build it with")
    print(f"building {COMPOSE_MODULE}", flush=True)
    module = subprocess.run(
        ["go", "mod", "download", "-json", COMPOSE_MODULE], capture_output=True, text=True, check=False
    )
    if module.returncode != 0:
        raise Unavailable(f"no Compose v2: {module.stderr or module.stdout}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # In its own folder, because its go.mod has replacements.
    subprocess.run(
        ["go", "build", "-trimpath", "-o", str(target), "./cmd"],
        cwd=json.loads(module.stdout)["Dir"],
        check=True,
    )
