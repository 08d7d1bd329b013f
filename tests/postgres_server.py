"""A PostgreSQL of one's own on a free loopback port, for tests. Installed by scripts/install-unleash."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def postgres_bin() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps it off PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextmanager
def start_postgres(folder: Path | None = None) -> Iterator[str]:
    """A fresh server; yields its address `postgresql://postgres@127.0.0.1:PORT/postgres`, and ends with the block.

    It keeps its data in `folder` (default: a temporary one). PostgreSQL refuses root: there it runs as the user
    postgres, who must be able to enter the folder, so a folder of pytest's will not do. Skips when it is not installed.
    """
    binaries = postgres_bin()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: run scripts/install-unleash (make test-real does)")
    own = folder is None
    data = Path(tempfile.mkdtemp(prefix="gtm-postgres-")) if folder is None else folder
    user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(data, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    ctl = [*user, str(binaries / "pg_ctl"), "-D", str(data / "pg"), "-w"]

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=data, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout

    try:
        initdb = [*user, str(binaries / "initdb"), "-D", str(data / "pg")]
        run(*initdb, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "-N")
        run(*ctl, "-l", str(data / "pg.log"), "-o", options, "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            run(*ctl, "-m", "immediate", "stop")
    finally:
        if own:
            shutil.rmtree(data, ignore_errors=True)
