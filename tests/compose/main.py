#!/usr/bin/env python3
"""Brings docker/compose.yaml up from a fresh clone, and looks at what a newcomer would look at.

    make test-compose

The clone is made with umask 077. Where images can't be pulled, base images of the same names are
made first (lookalikes.py). Says that it was skipped, and exits 0, where no Docker engine can be had.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True

from engine import Engine, Unavailable, compose_command  # noqa: E402
from lookalikes import ROOT, Lookalikes  # noqa: E402

UP_SECONDS = 240
HEALTHY = ("binpulse", "probe")
DONE = ("init", "topics")
# The image's settings must not stop a command that serves no HTTP.
WITHOUT_TOKEN = (
    ["--version"],
    ["settings"],
    ["init", "--print", "--source-hosts", "127.0.0.1:1", "--source-user", "binpulse"],
)


class Compose:
    """The project in the clone."""

    def __init__(self, clone: Path):
        self.command = [*compose_command(), "-f", str(clone / "docker/compose.yaml"), "-p", "binpulse-test"]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"compose {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-4000:]}")
        return done

    def config(self) -> dict:
        return json.loads(self.run("config", "--format", "json").stdout)

    def states(self) -> dict[str, dict]:
        lines = self.run("ps", "--all", "--format", "json").stdout.splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def binpulse(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("exec", "-T", "binpulse", "/usr/bin/binpulse", *arguments, check=False)


def clone_into(folder: Path) -> Path:
    """A copy of what git knows, as `umask 077; git clone` would make it."""
    clone = folder / "clone"
    clone.mkdir(mode=0o755)
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(known, cwd=ROOT, capture_output=True, check=True).stdout
    there = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    packed = subprocess.Popen(["tar", "-c", "--null", "-T", "-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpacked = subprocess.Popen(
        ["tar", "-x", "--no-same-permissions", "--no-same-owner"], cwd=clone, stdin=packed.stdout, umask=0o077
    )
    packed.stdin.write(there)
    packed.stdin.close()
    if packed.wait() or unpacked.wait():
        raise RuntimeError("the clone can't be made")
    return clone


def build_images(engine: Engine, clone: Path, compose: Compose, folder: Path) -> None:
    services = compose.config()["services"]
    builds = {service["image"]: service["build"] for service in services.values() if "build" in service}
    lookalikes = Lookalikes(engine, folder)
    for image, build in builds.items():
        context = Path(build["context"])
        dockerfile = context / build.get("dockerfile", "Dockerfile")
        for base in bases(dockerfile.read_text()):
            if not engine.has_image(base) and not engine.pulls(base):
                lookalikes.make(base)
        print(f"building {image}", flush=True)
        engine.build(image, context, dockerfile, target=build.get("target"))


def bases(dockerfile: str) -> list[str]:
    """Images that are not made by the file itself."""
    arguments, stages, found = {}, set(), []
    for words in map(str.split, dockerfile.splitlines()):
        if words[:1] == ["ARG"] and "=" in words[1]:
            name, value = words[1].split("=", 1)
            arguments[name] = value
        elif words[:1] == ["FROM"]:
            name = words[1]
            for argument, value in arguments.items():
                name = name.replace(f"${{{argument}}}", value)
            if name not in stages:
                found.append(name)
            stages.update(words[3:4])
    return found


def until(what: str, holds, seconds: float = UP_SECONDS) -> None:
    """Waits for a condition; the last thing that was seen is part of the error."""
    deadline = time.monotonic() + seconds
    while True:
        seen = holds()
        if seen is True:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s, last: {seen}")
        time.sleep(1)


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError as error:
        return f"{url}: {error}"


def status() -> dict:
    text = fetch("http://127.0.0.1:9187/status")
    return json.loads(text) if text.startswith("{") else {"error": text}


# The checks, in this order.


def everything_starts(compose: Compose) -> None:
    compose.run("up", "--detach", "--no-build", "--wait-timeout", str(UP_SECONDS))

    def started():
        states = compose.states()
        wrong = {
            name: (state["State"], state["Health"], state["ExitCode"])
            for name, state in states.items()
            if (name in DONE and (state["State"], state["ExitCode"]) != ("exited", 0))
            or (name not in DONE and state["State"] != "running")
            or (name in HEALTHY and state["Health"] != "healthy")
        }
        return True if states and not wrong else wrong

    until("all services run", started)


def the_verdict_is_live_or_quiet(compose: Compose) -> None:
    until("verdict", lambda: compose.binpulse("verdict").returncode == 0 or compose.binpulse("verdict").stdout)


def commands_work_in_the_container(compose: Compose) -> None:
    for command in (["status"], ["health"], ["settings"]):
        done = compose.binpulse(*command)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    # A second process of the stream would be refused, for the first one's sake and for nothing else.
    done = compose.binpulse("check")
    findings = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    refusals = [finding["what"].split()[0] for finding in findings if finding["refuses"]]
    assert (done.returncode, refusals) == (1, ["http.listen", "checkpoint", "lease"]), f"check: {done.stdout}{done.stderr}"


def commands_work_without_a_token(compose: Compose) -> None:
    for command in WITHOUT_TOKEN:
        done = subprocess.run(
            ["docker", "run", "--rm", "binpulse:local", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"


def the_consumer_prints_rows(compose: Compose) -> None:
    until("rows", lambda: '"op"' in compose.run("logs", "--no-color", "consumer").stdout)


def prometheus_has_targets_and_rules(_: Compose) -> None:
    def up():
        text = fetch("http://127.0.0.1:9090/api/v1/targets")
        if not text.startswith("{"):
            return text
        targets = json.loads(text)["data"]["activeTargets"]
        down = [target["scrapeUrl"] + ": " + target["lastError"] for target in targets if target["health"] != "up"]
        return True if len(targets) == 3 and not down else down or targets

    until("targets", up, 60)
    rules = json.loads(fetch("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
    assert sum(len(group["rules"]) for group in rules) > 20, rules
    until("alertmanager", lambda: "OK" in fetch("http://127.0.0.1:9093/-/ready") or "not ready", 60)


def topics_survive_a_restart_of_the_stand_in(compose: Compose) -> None:
    compose.run("restart", "aws")
    before = newest_canary()
    until("canaries come back", lambda: newest_canary() > before + 1 or (before, newest_canary()), 120)
    the_verdict_is_live_or_quiet(compose)


def newest_canary() -> int:
    """The newest canary that came back from the echo queue."""
    consumers = status().get("consumers", [])
    return max((consumer["last"] or 0 for consumer in consumers), default=0)


def nothing_was_restarted(compose: Compose) -> None:
    restarts = {}
    for name, state in compose.states().items():
        inspect = ["docker", "inspect", "--format", "{{.RestartCount}}", state["Name"]]
        count = int(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
        if count:
            restarts[name] = count
    assert not restarts, restarts


def it_stops_in_order(compose: Compose) -> None:
    compose.run("stop", "binpulse")
    state = compose.states()["binpulse"]
    assert state["ExitCode"] == 0, state


CHECKS = (
    everything_starts,
    the_verdict_is_live_or_quiet,
    commands_work_in_the_container,
    commands_work_without_a_token,
    the_consumer_prints_rows,
    prometheus_has_targets_and_rules,
    nothing_was_restarted,
    topics_survive_a_restart_of_the_stand_in,
    it_stops_in_order,
)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="binpulse-compose-"))
    try:
        engine = Engine(folder)
    except Unavailable as error:
        print(f"test-compose skipped: {error}")
        return 0
    failed = 0
    try:
        clone = clone_into(folder)
        compose = Compose(clone)
        build_images(engine, clone, compose, folder)
        try:
            for check in CHECKS:
                name = check.__name__.replace("_", " ")
                try:
                    check(compose)
                    print(f"ok      {name}", flush=True)
                except (AssertionError, RuntimeError) as error:
                    failed += 1
                    print(f"FAILED  {name}\n{error}", flush=True)
        finally:
            if failed:
                print(compose.run("logs", "--no-color", "--tail", "20", check=False).stdout)
            compose.run("down", "--volumes", "--timeout", "30", check=False)
    except Unavailable as error:
        print(f"test-compose skipped: {error}")
        return 0
    finally:
        engine.stop()
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
