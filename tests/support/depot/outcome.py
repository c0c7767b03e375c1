"""What is said when something cannot be had, and when another program fails."""

import subprocess
import sys
from pathlib import Path

# A package manager that fetches a hundred megabytes over a slow line is still done by then.
PROGRAM_SECONDS_MAX = 1200


class Unavailable(Exception):
    """Something could not be had; the text says what, why, and what to do instead."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def output_of(command: list[str], folder: Path | None = None) -> str:
    """What a program prints, run in `folder`; if it fails, what it complains of is raised."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=PROGRAM_SECONDS_MAX,
        )
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took over {PROGRAM_SECONDS_MAX} s") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or error.stdout).strip()
        raise Unavailable(f"{command[0]} fails: {reason}") from error
    return done.stdout
