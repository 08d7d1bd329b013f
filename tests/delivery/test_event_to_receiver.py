"""From an event at the collector to a receiver: collector and stream worker as processes, a webhook, Slack and the feed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from hostile_servers import Receiver, answering
from message_cases import SECRET, rows

from gtm_dagster.collector.address import running_address
from gtm_dagster.delivery.signatures import signature, signing_keys
from gtm_dagster.tracking import feed_token

KEY = "k" * 32
RULES = """
rules:
  hook: {on: checkout_started, purpose: service, do: {webhook: crm}}
  alert: {on: checkout_started, purpose: service, do: {slack: alert.j2}}
  note: {on: checkout_started, purpose: personalization, do: {in_app: note.j2}}
"""


@contextmanager
def process(folder: Path, *arguments: str) -> Iterator[None]:
    environ = {**os.environ, "FEED_KEY": KEY, "CRM_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen([sys.executable, "-m", "gtm_dagster.cli", *arguments], cwd=folder, env=environ)
    try:
        yield
        assert started.poll() is None
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(20)


def wait_for(what: Callable[[], object], seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def follows_the_log(path: Path) -> bool:
    """Whether the rules have taken up their position: an event before that would be history."""
    try:
        return bool(path.exists() and rows(path, "SELECT 1 FROM position"))
    except sqlite3.OperationalError:
        return False


def event(name: str, user: str, personalization: bool) -> dict[str, object]:
    return {
        "event_id": str(uuid4()), "event_name": name, "user_id": user, "properties": {"plan": "pro", "amount": 49.0},
        "context": {"device_type": "web", "consent": {"analytics": True, "personalization": personalization}},
    }  # fmt: skip


def test_an_event_reaches_every_receiver_of_its_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.delenv("GTM_STATE_DIR", raising=False)
    (tmp_path / "triggers.yaml").write_text(RULES)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "alert.j2").write_text("checkout of {{ properties.plan | default('?') }}")
    (tmp_path / "templates" / "note.j2").write_text(
        "Title: Go on\nLink: /checkout\n\nYour {{ properties.plan }} waits.\n"
    )
    with Receiver(answering(200)) as crm, Receiver(answering(200, b"ok")) as slack:
        (tmp_path / "gtm.toml").write_text(
            'triggers_file = "triggers.yaml"\nstate_dir = "state"\n[feed]\nkey_env = "FEED_KEY"\n[stream]\nmetrics_port = 0\n'
            f'[[destinations]]\nname = "crm"\nurl = "{crm.url}"\nsecret_env = "CRM_SECRET"\nallow = ["127.0.0.0/8"]\n'
            f'[[destinations]]\nname = "sales"\nkind = "slack"\nurl = "{slack.url}"\nallow = ["127.0.0.0/8"]\n'
        )
        state = tmp_path / "state"
        with process(tmp_path, "collect", "--port", "0"), process(tmp_path, "stream"):
            wait_for(lambda: running_address(state) and follows_the_log(state / "triggers.db"))
            address = running_address(state)
            sent = [event("checkout_started", "ann-51", True), event("checkout_started", "bob-52", False)]
            answer = requests.post(f"{address}/ingest", json=sent, headers={"X-Write-Key": "dev"}, timeout=10)
            assert answer.json()["accepted"] == 2, answer.text
            wait_for(lambda: len(crm.requests) == 2 and slack.requests)
            headers = {"Authorization": f"Bearer {feed_token(KEY, 'ann-51')}"}
            wait_for(lambda: requests.get(f"{address}/feed/ann-51", headers=headers, timeout=10).json()["items"])
            (item,) = requests.get(f"{address}/feed/ann-51", headers=headers, timeout=10).json()["items"]
            headers = {"Authorization": f"Bearer {feed_token(KEY, 'bob-52')}"}
            assert requests.get(f"{address}/feed/bob-52", headers=headers, timeout=10).json()["items"] == []
    assert (item["title"], item["text"], item["link"]) == ("Go on", "Your pro waits.\n", "/checkout")
    for _, found, body in crm.requests:
        stamp = int(found["webhook-timestamp"])
        assert found["webhook-signature"] == signature(signing_keys(SECRET), found["webhook-id"], stamp, body)
    data = crm.documents[0]["data"]
    assert data["event"]["name"] == "checkout_started" and data["event"]["properties"] == {
        "plan": "pro",
        "amount": 49.0,
    }
    assert "ann-51" not in str(crm.documents) and "bob-52" not in str(crm.documents), "pseudonyms alone"
    assert slack.documents[0]["text"] in ("checkout of pro", "2 x alert in 1 s\n• checkout of pro\n• checkout of pro")
