"""Runs the tests of the client libraries: `python clients/test.py [LANGUAGE ...]`. With `--build` it builds their
examples instead, which the live tests run.

Each library is checked by the conformance suite, and its stores over a Redis and a MySQL of `make deps`. A
toolchain that is missing is named, and counts as skipped. Libraries that tests need are fetched once, as the lock
files say.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# Language: programs of its toolchain, folder, commands that test it, commands that build its examples.
LANGUAGES = {
    "rust": (["cargo"], ROOT, [["cargo", "test", "--locked", "-p", "binpulse-client", "--all-features"]],
             [["cargo", "build", "--locked", "--example", "apply"]]),
    "python": ([], HERE / "python", [[sys.executable, "-B", "-m", "unittest", "discover", "-s", "tests"]], []),
    "typescript": (
        ["node", "npm"], HERE / "typescript",
        [["npm", "ci", "--no-audit", "--no-fund"], ["npm", "test"]],
        [["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]]),
    "go": (
        ["go"], HERE / "go",
        [["go", "vet", "./..."], ["go", "test", "-count=1", "./..."],
         ["go", "-C", "examples", "vet", "./..."], ["go", "-C", "examples", "test", "-count=1", "./..."]],
        [["go", "-C", "examples", "build", "-o", f"{ROOT}/target/clients/", "./..."]]),
    "java": (
        ["java", "mvn"], HERE / "java",
        [["mvn", "-q", "-B", "test"]],
        [["mvn", "-q", "-B", "package", "-DskipTests"]]),
}
# What a fetch reads and writes: it is done again only when the first is newer.
FETCHED = {"npm ci": ("package-lock.json", "node_modules/.package-lock.json")}


def is_fetched(command, folder):
    for begin, (lock, made) in FETCHED.items():
        if " ".join(command).startswith(begin) and (folder / made).exists():
            return (folder / made).stat().st_mtime >= (folder / lock).stat().st_mtime
    return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def started(name, command, port, own_socket):
    """A server and its address, once it listens. It makes its own socket last: on the port alone another program
    might answer, which took it meanwhile."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 120
    while time.monotonic() < ends and server.poll() is None:
        if own_socket.exists():
            return server, f"127.0.0.1:{port}"
        time.sleep(0.05)
    server.kill()
    raise SystemExit(f"{name} did not start")


def redis(folder):
    """A server and its address; None where there is none."""
    program, port, own = ROOT / ".deps/redis/redis-server", free_port(), folder / "redis.sock"
    if not program.exists():
        return None
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--unixsocket", str(own)]
    return started("Redis", [str(program), *options], port, own)


def mysql(folder):
    """The same of MySQL."""
    program, own = ROOT / ".deps/mysql-9.7/mysqld", folder / "mysql.sock"
    if not program.exists():
        return None
    options = [str(program), "--no-defaults", f"--datadir={folder}/mysql", "--skip-log-bin"]
    if os.getuid() == 0:
        options.append("--user=root")
    subprocess.run([*options, "--initialize-insecure"], check=True, stderr=subprocess.DEVNULL)
    port = free_port()
    options += [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={own}", "--mysqlx=OFF"]
    return started("MySQL", options, port, own)


def run(language, environment, is_build):
    """Whether its tests passed; None where the toolchain is missing."""
    programs, folder, *commands = LANGUAGES[language]
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        print(f"{language}: SKIPPED, {' and '.join(missing)} not found", flush=True)
        return None
    for command in commands[is_build]:
        if is_fetched(command, folder):
            continue
        print(f"{language}: {' '.join(command)}", flush=True)
        if subprocess.run(command, cwd=folder, env=environment).returncode != 0:
            return False
    return True


def tested(languages):
    """What `run` says of each, with the servers that their tests use."""
    environment, servers = dict(os.environ), []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            for name, start in (("REDIS", redis), ("MYSQL", mysql)):
                if found := start(folder):
                    servers.append(found[0])
                    environment[f"BINPULSE_TEST_{name}"] = found[1]
                else:
                    print(f"{name}: SKIPPED, not in .deps: run `make deps`", flush=True)
            return {language: run(language, environment, False) for language in languages}
        finally:
            for server in servers:
                server.terminate()
                server.wait()


def main():
    is_build = "--build" in sys.argv
    languages = [word for word in sys.argv[1:] if word != "--build"] or list(LANGUAGES)
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        raise SystemExit(f"no such language: {', '.join(unknown)}; there are {', '.join(LANGUAGES)}")
    if is_build:
        results = {language: run(language, None, True) for language in languages}
    else:
        results = tested(languages)
    for language, passed in results.items():
        print(f"{language}: {'skipped' if passed is None else 'passed' if passed else 'FAILED'}")
    counts = [list(results.values()).count(result) for result in (True, False, None)]
    print("{} passed, {} failed, {} skipped".format(*counts))
    sys.exit(counts[1] > 0)


if __name__ == "__main__":
    main()
