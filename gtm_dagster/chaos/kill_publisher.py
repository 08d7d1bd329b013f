"""kill -9 of the publisher while two readers query the serving copy: no reader sees an error or half of a version."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import duckdb

from gtm_dagster.chaos.inspect import check_leftovers
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.schema.ddl import create
from gtm_dagster.warehouse.serving import QueryError, query, reader
from gtm_dagster.warehouse.writer_lock import WarehouseLock

ROWS = 200_000
QUERIES_PER_CONNECTION = 25
"""Queries on one connection before the second reader opens another."""
BREATH_SECONDS = 0.005
"""Between two queries of a reader, so that on two cores the publisher gets its turn."""
_SQL = """SELECT a.low, a.high, a.n, b.low, b.high, b.n
FROM (SELECT min(version) AS low, max(version) AS high, count(*) AS n FROM ops.chaos_first) a,
     (SELECT min(version) AS low, max(version) AS high, count(*) AS n FROM ops.chaos_last) b"""


def kill_publishers(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """A publisher that writes version after version and is killed; two readers that never stop querying."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    stop = deployment.folder / "stop"
    with _publisher(deployment, 1) as first:
        code = first.wait(120)
        if code != 0:
            raise ChaosError(f"the first version could not be published: {first.err.strip()}")
    took = _seconds_of_one(first)
    with _reader(deployment, stop, "again") as again, _reader(deployment, stop, "same") as same:
        for number in rounds.numbers():
            with _publisher(deployment, 0) as child:
                if not until(lambda child=child: "begins" in child.out or not child.running(), 60):  # type: ignore[misc]
                    raise ChaosError("the publisher did not begin within 60 s")
                child.wait(rng.uniform(0.0, took * 2))
                alive = child.kill()
            findings.expect(alive, f"round {number}: the publisher ended by itself: {child.err.strip()[-300:]}")
            report(f"round {number} of {rounds.wanted}: killed")
        with _publisher(deployment, 1) as last:
            code = last.wait(120)
            findings.expect(code == 0, f"publishing after the last kill ended with {code}: {last.err.strip()[-300:]}")
        time.sleep(0.5)
        stop.touch()
        results = [
            _result_of(reader, name, findings)
            for reader, name in ((again, "with a new connection a query"), (same, "with one connection for many"))
        ]
    left = check_leftovers(deployment, findings)
    _, rows = query(deployment.settings, _SQL)
    return {
        "versions_published": int(rows[0][0]), "reader_queries": sum(each["queries"] for each in results),
        "reader_errors": sum(each["errors"] for each in results), "mixed": sum(each["mixed"] for each in results),
        "went_back": sum(each["went_back"] for each in results), "versions_seen": max(each["versions"] for each in results),
        "left_lying": left, "publish_seconds": round(took, 2),
    }  # fmt: skip


def _publisher(deployment: ThrowAway, versions: int) -> Child:
    config = deployment.environment["GTM_CONFIG"]
    return deployment.start("publish", config, str(versions), module=__name__)


def _reader(deployment: ThrowAway, stop: Path, kind: str) -> Child:
    return deployment.start("read", deployment.environment["GTM_CONFIG"], str(stop), kind, module=__name__)


def _seconds_of_one(child: Child) -> float:
    return float(json.loads(child.out.splitlines()[-1])["seconds"])


def _result_of(reader: Child, name: str, findings: Findings) -> dict[str, int]:
    code = reader.wait(60)
    try:
        result: dict[str, int] = json.loads(reader.out)
    except ValueError:
        raise ChaosError(f"the reader {name} ended with {code}: {reader.err.strip()[-300:]}") from None
    for count, what in (
        ("errors", "failed"),
        ("mixed", "saw two versions at once"),
        ("went_back", "saw an older version again"),
    ):
        findings.expect(
            result[count] == 0,
            f"the reader {name}: {result[count]} of {result['queries']} queries {what} ({result['first']})",
        )
    findings.expect(result["queries"] > 0, f"the reader {name} ran no query")
    return result


def _publish(config: Path, versions: int) -> None:
    """The publisher: `versions` new versions (0: until killed), as a run publishes them, under the writer's lock."""
    settings = load_settings(config, {})
    with WarehouseLock(settings.state_dir).hold("gtm doctor --drill publisher", 30):
        with opened(settings.warehouse_path, settings) as con:
            create(con)
            done = 0
            while not versions or done < versions:
                began = time.monotonic()
                known = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'chaos_last'").fetchall()[
                    0
                ][0]
                version = 1 + (con.execute("SELECT max(version) FROM ops.chaos_last").fetchall()[0][0] if known else 0)
                con.execute("BEGIN")
                for table in ("chaos_first", "chaos_last"):
                    con.execute(
                        composed(
                            "CREATE OR REPLACE TABLE ops.$table AS SELECT $version AS version, i FROM range($rows) t(i)",
                            table=table,
                            version=version,
                            rows=ROWS,
                        )
                    )
                con.execute("COMMIT")
                if not done:
                    _print({"begins": version})
                publish(con, settings)
                done += 1
                _print({"seconds": time.monotonic() - began})


def _read(config: Path, stop: Path, kind: str) -> None:
    """A reader: queries until the file `stop` is there, then prints what it saw."""
    settings = load_settings(config, {})
    seen: set[int] = set()
    counts = {"queries": 0, "errors": 0, "mixed": 0, "went_back": 0}
    first = ""
    newest = 0
    while not stop.exists():
        rows: list[tuple[int, ...]] = []
        counts["queries"] += 1 if kind == "again" else QUERIES_PER_CONNECTION
        try:
            if kind == "again":
                rows = query(settings, _SQL)[1]
                time.sleep(BREATH_SECONDS)
            else:
                with reader(settings) as con:
                    for _ in range(QUERIES_PER_CONNECTION):
                        rows += con.execute(_SQL).fetchall()
                        time.sleep(BREATH_SECONDS)
        except (QueryError, duckdb.Error, OSError) as error:
            counts["errors"] += 1
            first = first or str(error)
        for row in rows:
            low = row[0]
            counts["mixed"] += row != (low, low, ROWS, low, low, ROWS)
            counts["went_back"] += low < newest
            newest = max(newest, low)
            seen.add(low)
    _print({**counts, "versions": len(seen), "first": first})


def _print(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        _publish(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _read(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
