"""Debian's PostgreSQL, whose initdb starts the server that lies beside it."""

from dataclasses import dataclass
from pathlib import Path

from .debian import Debian


@dataclass(frozen=True)
class PostgreSql(Debian):
    """Puts a script in the server's place, so that initdb too starts it by its launcher."""

    version: str = ""

    def unpack(self, root: Path) -> None:
        super().unpack(root)
        folder = root / programs_of(self.version)
        (folder / "postgres").rename(folder / "postgres.bin")
        script = folder / "postgres"
        to_root = "/.." * len(folder.relative_to(root).parts)
        script.write_text(f'#!/bin/sh\nexec "${{0%/*}}{to_root}/postgres" "$@"\n')
        script.chmod(0o755)


def programs_of(version: str) -> str:
    return f"usr/lib/postgresql/{version}/bin"
