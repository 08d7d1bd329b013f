"""The running dashboard while other serving copies are published under its clients."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
import requests
from dashboard_cases import publish, settings_in, small

ROOT = Path(__file__).parents[2]
CLIENTS, SWAPS, STALE_SECONDS = 8, 50, 1.0
GROWTH_BYTES = 60_000_000
"""Above what the first ten swaps left: a file that stayed open would be 50 of them."""


def _publish(path: Path, version: int) -> None:
    """A whole serving copy whose marker is `version`, put in place by rename as a refresh does it."""
    part = path.with_name("part.duckdb")
    publish(part, small(3))
    with duckdb.connect(str(part)) as con:
        con.execute(f"CREATE TABLE marts.marker AS SELECT {version} AS version")
    part.replace(path)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_nobody_sees_an_error_or_an_old_value_while_the_file_is_swapped(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    _publish(settings.serving_path, 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "dash", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GTM_STATE_DIR": str(settings.state_dir)},
        cwd=settings.state_dir, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[1]
        published, done, wrong, count = [(0, time.monotonic())], threading.Event(), [], [0]

        def ask(path: str) -> None:
            with requests.Session() as session:
                while not done.is_set():
                    began = time.monotonic()
                    answer = session.get(address + path, timeout=30)
                    count[0] += 1
                    if answer.status_code != 200:
                        wrong.append((answer.status_code, answer.text[:300]))
                    elif path == marker:
                        seen = int(answer.text.split()[1])
                        least = max(version for version, at in published if at < began - STALE_SECONDS or version == 0)
                        if seen < least:
                            wrong.append((seen, least))

        marker = "/query.csv?q=SELECT version FROM marts.marker"
        clients = [
            threading.Thread(target=ask, args=(path,))
            for path in (*[marker] * (CLIENTS - 3), "/", "/chart/visitors_by_day.csv", "/data?table=marts.marker")
        ]
        for client in clients:
            client.start()
        after_ten: tuple[int, int] | None = None
        for version in range(1, SWAPS + 1):
            _publish(settings.serving_path, version)
            published.append((version, time.monotonic()))
            if version == 10:
                after_ten = _open_files(process.pid), _resident(process.pid)
        done.set()
        for client in clients:
            client.join()
        assert wrong == []
        assert count[0] > SWAPS
        assert after_ten is not None
        assert _open_files(process.pid) <= after_ten[0] + 2
        assert _resident(process.pid) <= after_ten[1] + GROWTH_BYTES
        assert requests.get(address + marker, timeout=30).text.split()[1] == str(SWAPS)
    finally:
        process.terminate()
        assert process.wait(20) == 0
