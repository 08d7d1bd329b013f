"""What a page of the dashboard costs: `python -m benchmarks.dashboard [--events 10000000] [--serving FILE] [--browser]`.

Blows the demo's serving copy up to what so many events give (persons, sessions, conversions and credits are repeated under
other ids; days, channels and campaigns stay, their figures grow), starts `gtm dash` over it, and asks for every screen:
the first time after a publish, then again and again. Prints a Markdown table: seconds to start, and a row a page with
milliseconds, the CPU of the server, and the bytes that travel. `--browser` adds the first contentful paint in Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import requests

from benchmarks.measuring import machine
from gtm_dagster.dashboard.screen import screens

ROOT = Path(__file__).parents[1]
TIMES, PAINTS = 40, 5
PAGES = [
    *(screen.path for screen in screens() if not screen.has_path_values and screen.order is not None),
    "/attribution?model=linear&type=signup_completed",
    "/attribution?model=linear&channel=Paid+Search",
]
_GROWING = ("conversions", "value", "net_value", "refunded", "visitors", "sessions", "sign_ups", "unattributed", "persons", "retained")  # fmt: skip


def blow_up(serving: Path, into: Path, events: int) -> int:
    """Copy a serving file with its persons repeated until it stands for `events`; returns how often."""
    shutil.copyfile(serving, into)
    with duckdb.connect(str(into)) as con:
        held = con.execute("SELECT sum(clean) FROM staging.books").fetchall()[0][0]
        times = max(round(events / held), 1)
        persons = con.execute("SELECT coalesce(max(person_no), 0) + 1 FROM core.sessions").fetchall()[0][0]
        columns: dict[str, list[str]] = {}
        for table, column in con.execute(
            "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        ).fetchall():
            columns.setdefault(table, []).append(column)
        for table, names in columns.items():
            if "person_no" in names:
                ids = [
                    f"{name} || '~' || i AS {name}"
                    for name in ("person_id", "conversion_id", "session_key")
                    if name in names
                ]
                changed = ", ".join([f"person_no + i * {persons} AS person_no", *ids])
                con.execute(
                    f"INSERT INTO {table} SELECT t.* REPLACE ({changed}) FROM {table} t, range(1, {times}) r(i)"
                )
            elif table.startswith("marts."):
                grown = ", ".join(f"{name} = {name} * {times}" for name in names if name in _GROWING)
                if grown:
                    con.execute(f"UPDATE {table} SET {grown}")
        con.execute("CHECKPOINT")
    return times


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(address: str, path: str, serving: Path, pid: int, later: float) -> dict[str, Any]:
    """Milliseconds of the first request `later` seconds after a publish, and of those behind it; bytes with gzip."""
    serving.touch()  # another time of change is another file: nothing kept of the one before is good any more
    time.sleep(later)
    walls, cpu, first_cpu = [], 0.0, 0.0
    sent = 0
    with requests.Session() as session:
        for number in range(TIMES + 1):
            before, start = cpu_of(pid), time.perf_counter()
            answer = session.get(address + path, stream=True, timeout=60, headers={"accept-encoding": "gzip"})
            sent = len(answer.raw.read(decode_content=False))
            walls.append((time.perf_counter() - start) * 1000)
            answer.raise_for_status()
            if number:
                cpu += cpu_of(pid) - before
            else:
                first_cpu = cpu_of(pid) - before
    warm = sorted(walls[1:])
    return {
        "path": path, "first": walls[0], "first_cpu": first_cpu * 1000, "p50": statistics.median(warm), "p95": warm[int(0.95 * len(warm))],
        "cpu": cpu / TIMES * 1000, "kB": sent / 1000,
    }  # fmt: skip


def painted(address: str) -> dict[str, float]:
    """First contentful paint of each page in a fresh profile, milliseconds: the middle of PAINTS times."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    paints = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        ask = "() => new Promise(done => new PerformanceObserver(list => done(list.getEntriesByName('first-contentful-paint')[0].startTime)).observe({type: 'paint', buffered: true}))"
        for path in PAGES:
            found = []
            for _ in range(PAINTS):
                context = browser.new_context()
                page = context.new_page()
                page.goto(address + path)
                found.append(float(page.evaluate(ask)))
                context.close()
            paints[path] = statistics.median(found)
        browser.close()
    return paints


def main() -> None:
    """The whole measurement."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=10_000_000)
    options.add_argument("--serving", type=Path, default=ROOT / ".gtm-demo" / "serving.duckdb")
    options.add_argument("--browser", action="store_true")
    options.add_argument("--later", type=float, default=0.0, help="seconds from a publish to the first request; the dashboard prepares its screens meanwhile")  # fmt: skip
    given = options.parse_args()
    if not given.serving.exists():
        raise SystemExit(f"{given.serving} is not there: run `gtm demo` first, or name a serving copy with --serving")
    with tempfile.TemporaryDirectory() as folder:
        serving = Path(folder) / "serving.duckdb"
        times = blow_up(given.serving, serving, given.events)
        environment = {
            **os.environ,
            "GTM_STATE_DIR": folder,
            "PYTHONPATH": str(ROOT),
            "GTM_DASHBOARD__STATEMENT_SECONDS": "30",
        }
        start = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "gtm_dagster.cli", "--config", str(ROOT / "gtm.toml"), "dash", "--port", "0"],
            env=environment, cwd=folder, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stderr is not None
        address = server.stderr.readline().split()[1]
        ready = time.perf_counter() - start
        try:
            rows = [asked(address, path, serving, server.pid, given.later) for path in PAGES]
            paints = painted(address) if given.browser else {}
            memory = next(
                line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmRSS" in line
            )
        finally:
            server.terminate()
            server.wait(20)
        where = machine(("duckdb", "granian", "starlette"))
        print(f"{where}; the demo's copy {times} times, {serving.stat().st_size / 1e6:.0f} MB; ready after {ready:.1f} s; {memory.split()[1]} kB resident\n")  # fmt: skip
        print(
            "| page | first after a publish, ms | CPU of it, ms | p50, ms | p95, ms | CPU, ms | kB with gzip | first paint, ms |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for row in rows:
            paint = f"{paints[row['path']]:.0f}" if paints else "–"
            print(f"| {row['path']} | {row['first']:.0f} | {row['first_cpu']:.0f} | {row['p50']:.0f} | {row['p95']:.0f} | {row['cpu']:.1f} | {row['kB']:.1f} | {paint} |")  # fmt: skip


if __name__ == "__main__":
    main()
