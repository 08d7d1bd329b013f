"""Seven ways of one event into the product: HTTP, SDK, NDJSON, CSV, Parquet, mapped CSV, mapped NDJSON."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import requests
from collector.collector_harness import KEY, Edge

from gtm_dagster.importing import import_file, load_mapping
from gtm_dagster.importing.mapping import FIELDS
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.tracking import GtmTracker, InvalidEvent
from gtm_dagster.warehouse.landing import Landing

Event = Mapping[str, Any]
_IDS = ("event_id", "user_id", "anonymous_id", "session_id")
_AT_RECEIPT = ("received_us", "raw", "sealed", "origin", "row_no", "sent_with")
"""Columns that say when and by what the event came."""


@dataclass(frozen=True)
class Outcome:
    """The verdict on one event: its reasons as (path, code), and the columns that land."""

    verdict: str
    reasons: tuple[tuple[str, str], ...]
    lands: dict[str, Any]


def outcome(row: Mapping[str, Any]) -> Outcome:
    """What a landed row says."""
    errors = json.loads(row["errors"] or "[]")
    reasons = tuple(sorted({(error["path"], error["code"]) for error in errors}))
    columns = {} if reasons else {name: value for name, value in row.items() if name not in _AT_RECEIPT}
    return Outcome(row["verdict"], reasons, columns)


def by_file(path: Path, mapping: Path | None = None, **options: Any) -> list[dict[str, Any]]:
    """The rows that land of one file, in their order in the file."""
    with TemporaryDirectory(dir=path.parent) as folder:
        result = import_file(
            path, landing=Landing(Path(folder)), plan=load_plan(), pseudonymize=Pseudonymizer(KEY), sealer=Sealer(KEY),
            write_key="dev", mapping=load_mapping(mapping) if mapping else None, **{"consent": OFF, **options},
        )  # fmt: skip
        rows = [row for file in result.files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return sorted(rows, key=lambda row: row["row_no"])


def flat(event: Event) -> dict[str, Any] | None:
    """The event in native columns, or None where columns of texts cannot say what it says."""
    context = event.get("context") or {}
    row = {name: value for name, value in event.items() if name not in ("properties", "context")}
    row |= {name: value for name, value in context.items() if name != "consent"}
    if not all(value is None or isinstance(value, str) for value in row.values()):
        return None
    if "consent" in context:
        row["consent"] = json.dumps(context["consent"])
    row["properties"] = json.dumps(event.get("properties") or {})
    return dict.fromkeys(("event_id", "event_name", "timestamp", "user_id", "anonymous_id")) | row


def _mapped(event: Event) -> tuple[dict[str, str], dict[str, str]] | None:
    """(columns of a row, types of its properties), or None where no mapping says it."""
    row = flat(event)
    if row is None or "consent" in row or not set(row) <= {*FIELDS, "timestamp", "properties", "timezone"}:
        return None
    del row["properties"]
    columns, kinds = {f"c_{name}": value for name, value in row.items()}, {}
    for name, value in (event.get("properties") or {}).items():
        if value is None or (isinstance(value, str) and not value):
            return None
        kinds[name] = "string" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"
        columns[f"p_{name}"] = value if isinstance(value, str) else json.dumps(value)
    return columns, kinds


def _mapping_file(folder: Path, columns: list[str], kinds: dict[str, str]) -> Path:
    fields = "\n".join(f'{name[2:]} = "{name}"' for name in columns if name[:2] == "c_" and name != "c_timestamp")
    properties = "\n".join(
        f'{json.dumps(name)} = {{ column = {json.dumps(f"p_{name}")}, type = "{kind}" }}'
        for name, kind in kinds.items()
    )
    path = folder / "mapping.toml"
    path.write_text(f'[columns]\n{fields}\n[timestamp]\ncolumn = "c_timestamp"\n[properties]\n{properties}\n')
    return path


def _csv(rows: list[dict[str, Any]], path: Path) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), "utf-8", newline="")
    return path


def _ndjson(rows: list[Any], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}), path)
    return path


def as_ndjson(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """Lines of the native shape."""
    return [outcome(row) for row in by_file(_ndjson(events, folder / "events.ndjson"), **options)]


def _in_columns(
    events: list[Event], folder: Path, name: str, write: Callable[[list[dict[str, Any]], Path], Path], **options: Any
) -> list[Outcome | None]:
    rows = [flat(event) for event in events]
    landed = iter(by_file(write([row for row in rows if row is not None], folder / name), **options))
    return [None if row is None else outcome(next(landed)) for row in rows]


def as_csv(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """Native columns of a CSV file."""
    return _in_columns(events, folder, "events.csv", _csv, **options)


def as_parquet(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """Native columns of a Parquet file."""
    return _in_columns(events, folder, "events.parquet", _parquet, **options)


def _by_mapping(
    events: list[Event], folder: Path, name: str, write: Callable[[list[dict[str, Any]], Path], Path], **options: Any
) -> list[Outcome | None]:
    """Columns of other names, and the types of properties from the mapping: one file for each set of types."""
    rows = [_mapped(event) for event in events]
    results: list[Outcome | None] = [None] * len(events)
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, row in enumerate(rows):
        if row is not None:
            groups.setdefault(tuple(sorted(row[1].items())), []).append(index)
    for kinds, members in groups.items():
        columns = [rows[index][0] for index in members]  # type: ignore[index]
        names = list(dict.fromkeys(name for row in columns for name in row))
        mapping = _mapping_file(folder, names, dict(kinds))
        for index, row in zip(members, by_file(write(columns, folder / name), mapping, **options), strict=True):
            results[index] = outcome(row)
    return results


def as_mapped_csv(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """CSV by a mapping."""
    return _by_mapping(events, folder, "mapped.csv", _csv, **options)


def as_mapped_ndjson(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """NDJSON by a mapping."""
    return _by_mapping(events, folder, "mapped.ndjson", _ndjson, **options)


@contextmanager
def collector(folder: Path, **options: Any) -> Iterator[tuple[str, Edge]]:
    """The address of a collector on loopback, and what is behind it."""
    edge = Edge(folder, **options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            response = edge.post([body], self.path, {"X-Write-Key": "dev"})
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", edge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        edge.log.close()


def _rows(edge: Edge) -> list[dict[str, Any]]:
    return [{name: getattr(record, name) for name in record.__struct_fields__} for record in edge.records()]


def over_http(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """POST /ingest, the whole list in one request; an answer names the reasons that the log has."""
    with collector(folder / "http", **options) as (url, edge):
        response = requests.post(f"{url}/ingest", json=events, timeout=60)
        results = response.json()["results"]
        outcomes = [outcome(row) for row in _rows(edge)]
        for one, result in zip(outcomes, results, strict=True):
            shown = sorted({(error["path"], error["code"]) for error in result["errors"]})
            assert result["status"] == one.verdict, result
            assert one.verdict == "suppressed" or tuple(shown) == one.reasons, result
        return list(outcomes)


def by_sdk(events: list[Event], folder: Path, **options: Any) -> list[Outcome | None]:
    """GtmTracker: what it refuses is not sent, what it sends lands."""
    results: list[Outcome | None] = []
    sent: list[int] = []
    with collector(folder / "sdk", **options) as (url, edge):
        with GtmTracker(url, "dev", device_type=None) as tracker:
            for event in events:
                if not set(event) <= {*_IDS, "event_name", "timestamp", "properties", "context"}:
                    results.append(None)
                    continue
                try:
                    tracker.track(**event)
                    sent.append(len(results))
                    results.append(None)
                except InvalidEvent as error:
                    reasons = tuple(sorted({(one.path, one.code) for one in error.errors}))
                    results.append(Outcome("quarantined", reasons, {}))
            assert tracker.flush(30)
        for index, row in zip(sent, _rows(edge), strict=True):
            results[index] = outcome(row)
    return results


WAYS: dict[str, Callable[..., list[Outcome | None]]] = {
    "http": over_http,
    "sdk": by_sdk,
    "ndjson": as_ndjson,
    "csv": as_csv,
    "parquet": as_parquet,
    "mapped csv": as_mapped_csv,
    "mapped ndjson": as_mapped_ndjson,
}
