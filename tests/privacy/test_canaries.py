"""Law 7: nothing personal at rest. Values planted in every field, by every way in, are in no store, log or history."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from canaries import MARK, Canaries, contents, events, found_in, raw_shapes
from collector.collector_harness import KEY, Edge
from stream_cases import GUARD
from warehouse_cases import settings_for
from ways import collector, flat

from gtm_dagster.admission.single_event import Judge
from gtm_dagster.importing import import_file, load_mapping
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import EventSpec, load_plan
from gtm_dagster.tracking import GtmTracker, InvalidEvent
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.quarantine_replay import replay_quarantine

PLAN = load_plan()
CONSENT = consent_policy("opt_out")


@dataclass
class Planted:
    """A deployment in `folder`; `needles` by way and place."""

    folder: Path
    inputs: Path
    needles: dict[str, list[str]] = field(default_factory=dict)
    ways: Counter[str] = field(default_factory=Counter)

    def new(self, way: str) -> Canaries:
        return Canaries(len(self.ways) + 1, _Places(self, way))

    def answered(self, response: Any) -> None:
        assert response.status in (200, 400, 413, 422), (response.status, response.body)


class _Places(dict):  # type: ignore[type-arg]
    """Where canaries are planted, counted by way."""

    def __init__(self, planted: Planted, way: str) -> None:
        self._planted, self._way = planted, way
        planted.ways[way] += 0

    def setdefault(self, place: str, default: Any = None) -> Any:
        self._planted.ways[self._way] += 1
        return self._planted.needles.setdefault(f"{self._way}: {place}", default)


def by_http_singly(planted: Planted, edge: Edge) -> None:
    app = edge.app_on(edge.log, CONSENT)
    new = planted.new("http single")
    for event in [*events(new), *raw_shapes(new)]:
        planted.answered(edge.post(event, app=app))


def by_http_lists(planted: Planted, edge: Edge) -> None:
    app = edge.app_on(edge.log, CONSENT)
    new = planted.new("http list")
    planted.answered(edge.post([*events(new), *raw_shapes(new), new("mail", "no object"), 7], app=app))
    new = planted.new("http gzip")
    body = gzip.compress(json.dumps([*events(new), *raw_shapes(new)]).encode())
    planted.answered(edge.post([body], headers={"X-Write-Key": "dev", "Content-Encoding": "gzip"}, app=app))
    new = planted.new("http broken")
    headers = {name: new("mail", name) for name in ("User-Agent", "Referer", "Cookie", "X-Request-Id")}
    for body in (
        f'{{"event_id": "{new("id", "broken JSON")}", ',
        f'["{new("mail", "broken list")}',
        f"\\ud800{new('text', 'no JSON')}",
    ):
        planted.answered(edge.post([body.encode()], headers={"X-Write-Key": "dev", **headers}, app=app))
    edge.post(
        {},
        path=f"/ingest?user={new('mail', 'query of the address')}",
        headers={"X-Write-Key": new("id", "wrong key"), "X-Forwarded-For": new("ip4", "a proxy's header")},
        app=app,
    )
    for kind in ("mail", "name", "phone", "ip4", "card"):
        for place in ("producer", "instance"):
            beat = {"producer": "shop", "ts": "2026-03-02T10:00:00Z", place: new(kind, f"heartbeat's {place}")}
            edge.post(beat, path="/heartbeat", app=app)


def by_sdk(planted: Planted) -> None:
    new = planted.new("sdk")
    with collector(planted.folder, consent=CONSENT) as (url, _), GtmTracker(url, "dev", device_type=None) as tracker:
        for event in events(new):
            try:
                tracker.track(**event)
            except InvalidEvent:
                continue
        assert tracker.flush(30)


FILES = ("csv", "ndjson", "parquet", "mapped csv", "mapped ndjson")


def by_import(planted: Planted, landing: Landing, ways: tuple[str, ...] = FILES) -> None:
    for way in ways:
        new = planted.new(f"import {way}")
        rows = events(new)
        kind = way.split()[-1]
        path = planted.inputs / f"{way.replace(' ', '-')}.{kind}"
        if way == "ndjson":
            path.write_text(
                "".join(json.dumps(row) + "\n" for row in [*rows, *raw_shapes(new)])
                + f'{{"broken": "{new("mail", "broken line")}\n'
            )
            mapping = None
        else:
            columns = [row for row in map(flat, rows) if row is not None]
            names = list(dict.fromkeys(name for row in columns for name in row))
            mapping = planted.inputs / "mapping.toml" if "mapped" in way else None
            if mapping is not None:
                fields = "".join(
                    f'{name} = "{name}"\n' for name in names if name not in ("timestamp", "properties", "consent")
                )
                mapping.write_text(
                    f'[columns]\n{fields}[timestamp]\ncolumn = "timestamp"\n[properties]\nremark = {{ column = "properties", type = "string" }}\n'
                )
            if kind == "parquet":
                pq.write_table(
                    pa.table({name: pa.array([row.get(name) for row in columns], pa.string()) for name in names}), path
                )
            elif kind == "ndjson":
                path.write_text("".join(json.dumps(row) + "\n" for row in columns))
            else:
                with path.open("w", newline="") as file:
                    writer = csv.DictWriter(file, names, restval="")
                    writer.writeheader()
                    writer.writerows(columns)
        import_file(
            path, landing=landing, plan=PLAN, pseudonymize=Pseudonymizer(KEY), sealer=Sealer(KEY), write_key="dev",
            mapping=load_mapping(mapping) if mapping else None, mapping_name="mapping.toml" if mapping else None, consent=CONSENT,
        )  # fmt: skip


def replay(settings: Any) -> int:
    """Replays the quarantine by a plan that takes whatever it was sent."""
    events_ = {name: msgspec.structs.replace(spec, additional=True) for name, spec in PLAN.events.items()}
    wider = msgspec.structs.replace(PLAN, events={**events_, "nope": EventSpec(additional=True, name="nope")})
    judge = Judge(wider, Pseudonymizer(KEY), Sealer(KEY), 64_000, CONSENT)
    return replay_quarantine(settings, judge, Sealer(KEY), by="ann").accepted


def check(planted: Planted, folders: list[Path]) -> None:
    needles = {needle for each in planted.needles.values() for needle in each}
    for folder in folders:
        assert found_in(folder, needles) == {}
    sys.stdout.write(f"{sum(planted.ways.values())} values planted and 0 found: {dict(planted.ways)}\n")
    assert sum(planted.ways.values()) >= 150


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    (tmp_path / "inputs").mkdir()
    return Planted(tmp_path / "state", tmp_path / "inputs")


def test_nothing_planted_is_in_the_log_or_the_landing_zone(planted: Planted) -> None:
    planted.folder.mkdir()
    edge = Edge(planted.folder)
    by_http_lists(planted, edge)
    edge.log.close()
    by_import(planted, Landing(settings_for(planted.folder).landing_dir), ("ndjson", "parquet"))
    check(planted, [planted.folder])


def test_the_search_finds_what_is_there(planted: Planted) -> None:
    new = planted.new("file")
    rows = [row for row in map(flat, events(new)) if row is not None]
    for row in rows:
        (planted.inputs / row["event_id"].replace("/", "_")[:40]).write_text(json.dumps(row, ensure_ascii=False))
    needles = {needle for each in planted.needles.values() for needle in each}
    found = {hit for hits in found_in(planted.inputs, needles).values() for hit in hits}
    assert len(found) > 90 and MARK in found


@pytest.mark.slow
def test_nothing_planted_is_in_any_store_after_a_refresh_and_a_replay(planted: Planted, capfd: Any) -> None:
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.eventlog.sqlite import SqliteEventLog
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.orchestration.refresh_run import run_refresh
    from gtm_dagster.stream import GuardReducer, Worker

    settings = settings_for(planted.folder)
    planted.folder.mkdir()
    edge = Edge(planted.folder)
    by_http_singly(planted, edge)
    by_http_lists(planted, edge)
    edge.log.close()
    by_sdk(planted)
    by_import(planted, Landing(settings.landing_dir))
    assert run_refresh(settings, build_defs).error is None
    assert replay(settings) > 20
    assert run_refresh(settings, build_defs).error is None
    with SqliteEventLog(settings.log_path) as log:
        store = OpsStore(f"sqlite:///{planted.folder / 'ops.db'}")
        Worker(log, store, [GuardReducer(store, [GUARD])]).once()
    printed = capfd.readouterr()
    shown = [printed.out, printed.err]
    variables = os.environ | {"GTM_STATE_DIR": str(planted.folder), "GTM_PRIVACY__PSEUDONYM_KEY": KEY.decode()}
    for command in (["list", "--json", "--limit", "5000"], ["list"], ["show", "r1-5", "--json"]):
        ran = subprocess.run(
            [sys.executable, "-m", "gtm_dagster.cli", "quarantine", *command],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        shown += [ran.stdout, ran.stderr]
    for store, text in ((settings.log_path, "unknown_event"), (settings.serving_path, "page_viewed")):
        assert text in " ".join(part for where, part in contents(store) if where != "bytes"), f"{store} is not opened"
    pages = planted.inputs.parent / "shown"
    pages.mkdir()
    for number, text in enumerate(shown):
        (pages / f"{number}.txt").write_text(text)
    check(planted, [planted.folder, pages])
