"""`gtm trigger run` as a process: from the event log to the outbox of triggers.db, over a real Kafka."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from flink_install import FLINK, JVM, need_flink
from kafka_broker import start_kafka
from live_cases import record
from msgspec.structs import replace
from trigger_cases import event

from gtm_dagster.cli import run as gtm
from gtm_dagster.eventlog.sqlite import SqliteEventLog

RULES = """
version: 1
rules:
  viewed: {on: pricing_viewed, count: {n: 3, within: 10m}, purpose: marketing, do: {webhook: sales}}
  idle: {on: checkout_started, absent: {event: payment_completed, within: 1s, grace: 1s}, purpose: service, do: {webhook: sales}}
"""


def deployment(folder: Path, servers: str) -> Path:
    (folder / "triggers.yaml").write_text(RULES)
    config = folder / "gtm.toml"
    config.write_text(
        f'triggers_file = "triggers.yaml"\ntrigger_shards = "kafka://{servers}/run"\n[kafka]\npartitions = 3\n'
        '[[destinations]]\nname = "sales"\nurl = "https://sales.example/hook"\n'
    )
    return config


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "trigger", "run", "--name", "one", *words], cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
    )  # fmt: skip


def now_us() -> int:
    return time.time_ns() // 1000


def messages(path: Path, n: int, seconds: float) -> list[tuple[str, str]]:
    """(rule, person) of the outbox once it has `n` rows."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if path.exists():
            with closing(sqlite3.connect(path)) as con:
                try:
                    found = con.execute("SELECT rule, person FROM outbox ORDER BY rule, person").fetchall()
                except sqlite3.OperationalError:
                    found = []
            if len(found) >= n:
                return found
        time.sleep(0.1)
    raise AssertionError(f"fewer than {n} messages in {seconds} s")


@pytest.mark.real
@pytest.mark.parametrize("engine", ["kafka", "flink"])
def test_from_the_log_to_the_outbox_through_a_kill(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "flink":
        need_flink()
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", JVM)
    words = ["--engine", engine, "--flink", str(FLINK)]
    seconds = 60 if engine == "kafka" else 240
    with start_kafka() as node, SqliteEventLog(tmp_path / ".gtm/events.db") as log:
        deployment(tmp_path, node.servers)

        def happens(name: str, person: str, n: int = 1) -> None:
            at = now_us()
            log.append(
                [
                    record(replace(event(name, "10:00", person, event_id=f"{name} {person} {at} {i}"), at_us=at + i, received_us=at + i))
                    for i in range(n)
                ]
            )  # fmt: skip

        path = tmp_path / ".gtm/triggers.db"
        happens("pricing_viewed", "before", 3)  # the first start begins at the log's end
        process = start(tmp_path, *words)
        try:
            until = time.monotonic() + seconds
            while log.committed("trigger_shards") == 0:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            for number in range(8):
                happens("pricing_viewed", f"u{number}", 3)
            happens("checkout_started", "u9")
            first = messages(path, 9, seconds)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            happens("pricing_viewed", "v1", 3)
            process = start(tmp_path, *words)
            everything = messages(path, 10, seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    assert code == 0
    assert first == [("idle", "u9"), *[("viewed", f"u{number}") for number in range(8)]]
    assert everything == sorted([*first, ("viewed", "v1")]), "each once"
    with closing(sqlite3.connect(path)) as con:
        con.row_factory = sqlite3.Row
        row = con.execute("SELECT * FROM outbox WHERE person = 'v1'").fetchone()
        assert '"name":"pricing_viewed"' in row["payload"]
        profile = con.execute("SELECT profile FROM persons WHERE person = 'v1'").fetchone()[0]
        assert b"marketing" in profile, "consent is asked again from here"


@pytest.mark.parametrize(
    ("settings", "words", "needle"),
    [
        pytest.param("", ["trigger", "run"], "trigger_shards is not set", id="where the topics are"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--part", "all"], "resolver, worker", id="a part"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--engine", "spark"], "give kafka or flink", id="an engine"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--engine", "flink", "--flink", "nowhere"], "make install-flink", id="where Flink is"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"\nkafka.client = {"security.protocol" = "SSL"}', ["trigger", "run", "--engine", "flink"], "kafka.client is set", id="settings that Flink lacks"),
    ],
)  # fmt: skip
def test_wrong_usage_names_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, settings: str, words: list[str],
    needle: str,
) -> None:  # fmt: skip
    (tmp_path / "gtm.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    assert gtm(words) == 2
    assert needle in capsys.readouterr().err
