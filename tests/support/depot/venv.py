"""The Python packages of the tests: an independent SNS and SQS, and readers of our messages."""

import shutil
import subprocess
import sys
from pathlib import Path

from .files import DEPS, SUPPORT, digest_of, read_stamp, write_stamp
from .outcome import Unavailable, output_of, say

# The name under which they are asked for.
MINISTACK = "ministack"
REQUIREMENTS = SUPPORT / "requirements.txt"


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
