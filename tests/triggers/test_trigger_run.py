"""`gtm trigger run` as a process: from the event log to the outbox of triggers.db, over a real Kafka."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flink_install import FLINK, JVM, need_flink
from live_cases import record
from msgspec.structs import replace
from trigger_cases import event

from benchmarks.kafka_node import KafkaNode
from gtm_dagster.cli import run as gtm
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import load_settings
from gtm_dagster.triggers.sharded.shard_control import erase_from_shards
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics
from gtm_dagster.warehouse import trigger_ledger

RULES = """
version: 1
rules:
  viewed: {on: pricing_viewed, count: {n: 3, within: 10m}, purpose: marketing, do: {webhook: sales}}
  idle: {on: checkout_started, absent: {event: payment_completed, within: 1s, grace: 1s}, purpose: service, do: {webhook: sales}}
"""


def deployment(folder: Path, servers: str, prefix: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "triggers.yaml").write_text(RULES)
    (folder / "gtm.toml").write_text(
        f'triggers_file = "triggers.yaml"\ntrigger_shards = "kafka://{servers}/{prefix}"\n[kafka]\npartitions = 3\n'
        '[[destinations]]\nname = "sales"\nurl = "https://sales.example/hook"\n'
    )


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gtm_dagster.cli", "trigger", "run", "--name", "one", *words]
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
    )  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def now_us() -> int:
    return time.time_ns() // 1000


def rows(path: Path, statement: str, n: int, seconds: float) -> list[tuple[object, ...]]:
    """What a statement finds in triggers.db once it finds `n` rows."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if path.exists():
            with closing(sqlite3.connect(path)) as con:
                try:
                    found = con.execute(statement).fetchall()
                except sqlite3.OperationalError:
                    found = []
            if len(found) >= n:
                return found
        time.sleep(0.1)
    raise AssertionError(f"fewer than {n} rows of {statement} in {seconds} s")


MESSAGES = "SELECT rule, person FROM outbox ORDER BY rule, person"
PAUSED = "SELECT person FROM occurrences WHERE outcome = 'not_sent' AND reason = 'paused' ORDER BY person"


def says_in_metrics(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        metrics = page.read().decode()
    for line in (
        'gtm_trigger_actions_total{channel="webhook",rule="viewed"} 8.0', "gtm_trigger_failing 0.0",
        'gtm_trigger_non_sends_total{reason="capped",rule="idle"} 0.0', 'gtm_trigger_degraded{rule="viewed"} 0.0',
        'gtm_trigger_faults_total{rule="idle"} 0.0', 'gtm_trigger_holds_total{reason="quiet"} 0.0',
    ):  # fmt: skip
        assert line in metrics, line


@pytest.mark.real
@pytest.mark.parametrize("engine", ["kafka", "flink"])
def test_from_the_log_to_the_outbox_through_a_kill(
    engine: str, kafka: KafkaNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*words: str) -> tuple[int, dict[str, Any]]:
        code = gtm(["trigger", *words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    here, elsewhere, prefix = tmp_path / "here", tmp_path / "elsewhere", f"run-{engine}"
    for folder in (here, elsewhere):
        deployment(folder, kafka.servers, prefix)
    path, port = here / ".gtm/triggers.db", free_port()
    topics = ShardTopics(kafka.servers, prefix)
    words, seconds = ["--metrics-port", str(port)], 60
    if engine == "flink":
        need_flink()
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", JVM)
        words, seconds = ["--engine", "flink", "--flink", str(FLINK)], 240
    with SqliteEventLog(here / ".gtm/events.db") as log:

        def happens(name: str, person: str, n: int = 1) -> None:
            at = now_us()
            log.append(
                [
                    record(replace(event(name, "10:00", person, event_id=f"{name} {person} {at} {i}"), at_us=at + i, received_us=at + i))
                    for i in range(n)
                ]
            )  # fmt: skip

        happens("pricing_viewed", "before", 3)  # the first start begins at the log's end
        process = start(here, *words)
        try:
            until = time.monotonic() + seconds
            while log.committed("trigger_shards") == 0:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            for number in range(8):
                happens("pricing_viewed", f"u{number}", 3)
            happens("checkout_started", "u9")
            first = rows(path, MESSAGES, 9, seconds)
            monkeypatch.chdir(here)
            code, status = ask("status")
            assert [rule["sent"] for rule in status["rules"]] == [1, 8] and status["rules_error"] is None
            assert [shard["worker"] for shard in status["shards"]] == [{"kafka": "one", "flink": "flink"}[engine]] * 3
            assert not any(shard["is_silent"] for shard in status["shards"])
            assert code == 0
            assert [each["outcome"] for each in ask("explain", "u3")[1]["starts"]] == ["sent"]
            if engine == "kafka":
                assert all(shard["lag_messages"] < 1000 for shard in status["shards"])
                says_in_metrics(port)
            monkeypatch.chdir(elsewhere)
            assert gtm(["trigger", "explain", "u3"]) == 1
            assert "--part outbox" in capsys.readouterr().err, "this machine has no state, and says which has"
            assert ask("pause", "viewed") == (0, {"rule": "viewed", "status": "paused", "shards": 3, "missing": []})
            happens("pricing_viewed", "v0", 3)
            rows(path, PAUSED, 1, seconds)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            happens("pricing_viewed", "v1", 3)
            process = start(here, *words)
            assert rows(path, PAUSED, 2, seconds) == [("v0",), ("v1",)], "a pause survives the kill"
            monkeypatch.chdir(here)
            assert ask("resume", "viewed")[1]["missing"] == []
            assert not erase_from_shards(topics, {"u3"}, now_us(), 30).missing
            happens("pricing_viewed", "u3", 3)
            happens("pricing_viewed", "v2", 3)
            everything = rows(path, MESSAGES + " LIMIT 100", 9, seconds)
            while ("viewed", "v2") not in everything and time.monotonic() < until + seconds:
                everything = rows(path, MESSAGES, 9, seconds)
            assert ask("status")[1]["rules"][1]["status"] == "active"
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    assert code == 0
    assert first == [("idle", "u9"), *[("viewed", f"u{number}") for number in range(8)]]
    assert everything == sorted({*first, ("viewed", "v2")} - {("viewed", "u3")}), (
        "each once, and nothing of who was erased"
    )
    with trigger_ledger.reading(load_settings(here / "gtm.toml", {})) as con:
        decided = trigger_ledger.decided(con, None).to_pylist()
        assert sorted(each["outcome"] for each in decided) == ["not_sent"] * 2 + ["sent"] * 9, (
            "what the refresh takes over"
        )
        profile = con.execute("SELECT profile FROM persons WHERE person = 'v2'").fetchone()[0]
        assert b"marketing" in profile, "consent is asked again from here"
    assert b"u3" not in b"".join(each.read_bytes() for each in path.parent.glob("triggers.db*"))


@pytest.mark.parametrize(
    ("settings", "words", "needle"),
    [
        pytest.param("", ["trigger", "run"], "trigger_shards is not set", id="where the topics are"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--part", "all"], "resolver, worker", id="a part"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--engine", "spark"], "give kafka or flink", id="an engine"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--engine", "flink", "--flink", "nowhere"], "make install-flink", id="where Flink is"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"\nkafka.client = {"security.protocol" = "SSL"}', ["trigger", "run", "--engine", "flink"], "kafka.client is set", id="settings that Flink lacks"),
        pytest.param('trigger_shards = "kafka://127.0.0.1:1/x"', ["trigger", "run", "--engine", "flink", "--metrics-port", "1"], "--part resolver", id="metrics that Flink lacks"),
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
