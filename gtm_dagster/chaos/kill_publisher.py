"""kill -9 of the publisher while two readers query the serving copy: no reader sees an error or half of a version."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import duckdb

from gtm_dagster.chaos.inspect import left_lying
from gtm_dagster.chaos.outcome import DrillError, Findings, Rounds, Tell
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import Ground
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.serving import QueryError, query
from gtm_dagster.warehouse.writer_lock import WarehouseLock

ROWS = 200_000
HELD_QUERIES = 25
"""Queries on one open connection before the second reader opens it anew."""
BREATH_SECONDS = 0.005
"""Between two questions of a reader, so that on two cores the publisher gets its turn."""
_ASK = """SELECT a.low, a.high, a.n, b.low, b.high, b.n
FROM (SELECT min(version) AS low, max(version) AS high, count(*) AS n FROM ops.drill_first) a,
     (SELECT min(version) AS low, max(version) AS high, count(*) AS n FROM ops.drill_last) b"""


def drill_publisher(
    ground: Ground, rounds: Rounds, seed: int, findings: Findings, tell: Tell
) -> dict[str, int | float]:
    """A publisher that makes version after version and is killed; two readers that never stop asking."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    stop = ground.folder / "stop"
    with _publisher(ground, 1) as first:
        code = first.wait(120)
        if code != 0:
            raise DrillError(f"the first version could not be published: {first.err.strip()}")
    took = _seconds_of_one(first)
    with _reader(ground, stop, "again") as again, _reader(ground, stop, "held") as held:
        for number in rounds.numbers():
            with _publisher(ground, 0) as child:
                if not until(lambda child=child: "begins" in child.out or not child.running(), 60):  # type: ignore[misc]
                    raise DrillError("the publisher did not begin within 60 s")
                child.wait(rng.uniform(0.0, took * 2))
                alive = child.kill()
            findings.expect(alive, f"round {number}: the publisher ended by itself: {child.err.strip()[-300:]}")
            tell(f"round {number} of {rounds.wanted}: killed")
        with _publisher(ground, 1) as last:
            code = last.wait(120)
            findings.expect(code == 0, f"publishing after the last kill ended with {code}: {last.err.strip()[-300:]}")
        time.sleep(0.5)
        stop.touch()
        told = [_told(reader, name, findings) for reader, name in ((again, "opening anew"), (held, "holding open"))]
    lying = left_lying(ground)
    findings.expect(not lying, f"left lying in the state directory: {', '.join(lying[:5])} ({len(lying)} in all)")
    _, rows = query(ground.settings, _ASK)
    return {
        "versions_published": int(rows[0][0]), "reader_queries": sum(each["queries"] for each in told),
        "reader_errors": sum(each["errors"] for each in told), "mixed": sum(each["mixed"] for each in told),
        "went_back": sum(each["went_back"] for each in told), "versions_seen": max(each["versions"] for each in told),
        "left_lying": len(lying), "publish_seconds": round(took, 2),
    }  # fmt: skip


def _publisher(ground: Ground, versions: int) -> Child:
    config = ground.environment["GTM_CONFIG"]
    return ground.start("publish", config, str(versions), module=__name__)


def _reader(ground: Ground, stop: Path, kind: str) -> Child:
    return ground.start("read", ground.environment["GTM_CONFIG"], str(stop), kind, module=__name__)


def _seconds_of_one(child: Child) -> float:
    return float(json.loads(child.out.splitlines()[-1])["seconds"])


def _told(reader: Child, name: str, findings: Findings) -> dict[str, int]:
    code = reader.wait(60)
    try:
        told: dict[str, int] = json.loads(reader.out)
    except ValueError:
        raise DrillError(f"the reader {name} ended with {code}: {reader.err.strip()[-300:]}") from None
    for count, what in (
        ("errors", "failed"),
        ("mixed", "saw two versions at once"),
        ("went_back", "saw an older version again"),
    ):
        findings.expect(
            told[count] == 0, f"the reader {name}: {told[count]} of {told['queries']} queries {what} ({told['first']})"
        )
    findings.expect(told["queries"] > 0, f"the reader {name} asked nothing")
    return told


def _publish(config: Path, versions: int) -> None:
    """The publisher: `versions` new versions (0: until killed), as a run makes them, under the writer's lock."""
    settings = load_settings(config, {})
    with WarehouseLock(settings.state_dir).hold("gtm doctor --drill publisher", 30):
        with opened(settings.warehouse_path, settings) as con:
            create(con)
            done = 0
            while not versions or done < versions:
                began = time.monotonic()
                known = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'drill_last'").fetchall()[
                    0
                ][0]
                version = 1 + (con.execute("SELECT max(version) FROM ops.drill_last").fetchall()[0][0] if known else 0)
                con.execute("BEGIN")
                for table in ("drill_first", "drill_last"):
                    con.execute(
                        f"CREATE OR REPLACE TABLE ops.{table} AS SELECT {version} AS version, i FROM range({ROWS}) t(i)"
                    )
                con.execute("COMMIT")
                if not done:
                    _say({"begins": version})
                publish(con, settings)
                done += 1
                _say({"seconds": time.monotonic() - began})


def _read(config: Path, stop: Path, kind: str) -> None:
    """A reader: asks until the file `stop` is there, then says what it saw."""
    settings = load_settings(config, {})
    seen: set[int] = set()
    told = {"queries": 0, "errors": 0, "mixed": 0, "went_back": 0}
    first = ""
    newest = 0
    while not stop.exists():
        rows: list[tuple[int, ...]] = []
        told["queries"] += 1 if kind == "again" else HELD_QUERIES
        try:
            if kind == "again":
                rows = query(settings, _ASK)[1]
                time.sleep(BREATH_SECONDS)
            else:
                with opened(settings.serving_path, settings, read_only=True) as con:
                    for _ in range(HELD_QUERIES):
                        rows += con.execute(_ASK).fetchall()
                        time.sleep(BREATH_SECONDS)
        except (QueryError, duckdb.Error, OSError) as error:
            told["errors"] += 1
            first = first or str(error)
        for row in rows:
            low = row[0]
            told["mixed"] += row != (low, low, ROWS, low, low, ROWS)
            told["went_back"] += low < newest
            newest = max(newest, low)
            seen.add(low)
    _say({**told, "versions": len(seen), "first": first})


def _say(told: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        _publish(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _read(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
