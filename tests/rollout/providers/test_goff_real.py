"""GO Feature Flag on its real relay proxy (opt-in: `make install-goff`, six minutes)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
import requests

from gtm_dagster.rollout.providers import Conflict, FlagWriter, ProviderError, writer_for
from gtm_dagster.settings import FlagProvider

ROOT = Path(__file__).parents[3]
from postgres_server import free_port  # noqa: E402

RELAY = ROOT / ".cache" / "goff" / "relayproxy"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not RELAY.exists(), reason="opt-in: make install-goff builds the relay proxy in six minutes"),
]

FLAG = "checkout-v2"
ADMIN_KEY, CLIENT_KEY = "admin-key", "client-key"
UNITS = [f"user-{n}" for n in range(100)]
FLAGS = """# flags of the shop
checkout-v2:
  variations:
    on: true
    off: false
  defaultRule:
    percentage:
      on: 50
      off: 50
other:
  variations: {a: true, b: false}
  defaultRule: {variation: a}
"""


@dataclass(frozen=True)
class Relay:
    url: str
    file: Path

    def writer(self, key: str = ADMIN_KEY) -> FlagWriter:
        provider = FlagProvider("goff", "goff", url=self.url, file=self.file, token_env="GOFF_KEY")
        return writer_for(provider, {"GOFF_KEY": key})

    def client(self, unit: str, flag: str = FLAG) -> bool:
        """What a client of the product is served (OFREP, with a client's key)."""
        answer = requests.post(
            f"{self.url}/ofrep/v1/evaluate/flags/{flag}",
            json={"context": {"targetingKey": unit}},
            headers={"Authorization": f"Bearer {CLIENT_KEY}"},
            timeout=5,
        )
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["value"])


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that by itself would look at the file once a minute only."""
    relay = Relay(f"http://127.0.0.1:{(port := free_port())}", tmp_path / "flags.yaml")
    relay.file.write_text(FLAGS)
    config = tmp_path / "relay.yaml"
    config.write_text(
        f"server: {{mode: http, host: 127.0.0.1, port: {port}}}\n"
        "pollingInterval: 60000\n"
        f"retriever: {{kind: file, path: {relay.file}}}\n"
        f"authorizedKeys: {{admin: [{ADMIN_KEY}], evaluation: [{CLIENT_KEY}]}}\n"
    )
    with (tmp_path / "relay.log").open("wb") as log:
        process = subprocess.Popen(
            [str(RELAY), "--config", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        deadline, pause = time.monotonic() + 30, Event()
        while True:
            try:
                if requests.get(f"{relay.url}/health", timeout=2).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "relay.log").read_text()[-2000:]
            pause.wait(0.05)
        yield relay
    finally:
        process.terminate()
        process.wait(10)


def test_a_rollback_reaches_clients_at_once(relay: Relay, tell: Callable[[str], None]) -> None:
    goff = relay.writer()
    assert goff.preflight(FLAG, "production") == []
    before = goff.read_back(FLAG, "production")
    assert (before.enabled, before.share) == (True, 0.5)
    assert goff.evaluate(FLAG, "production", UNITS) == [relay.client(unit) for unit in UNITS]
    assert 30 < sum(relay.client(unit) for unit in UNITS) < 70

    began = time.monotonic()
    goff.turn_off(FLAG, "production", comment="", expected=before)
    acked = time.monotonic() - began
    assert not any(relay.client(unit) for unit in UNITS), "seen without waiting for the next poll"
    assert not any(goff.evaluate(FLAG, "production", UNITS))
    tell(f"GO Feature Flag: file rewritten and relay refreshed in {acked * 1000:.0f} ms")

    written = relay.file.stat().st_mtime_ns
    goff.turn_off(FLAG, "production", comment="", expected=before)
    assert relay.file.stat().st_mtime_ns == written
    assert not goff.read_back(FLAG, "production").enabled
    assert relay.client("user-1", "other"), "other flags stay"


def test_a_changed_percentage_is_a_conflict(relay: Relay) -> None:
    goff = relay.writer()
    before = goff.read_back(FLAG, "production")
    relay.file.write_text(FLAGS.replace("on: 50", "on: 10"))
    with pytest.raises(Conflict):
        goff.turn_off(FLAG, "production", comment="", expected=before)
    assert goff.read_back(FLAG, "production").enabled


def test_a_clients_key_cannot_refresh(relay: Relay) -> None:
    (problem,) = relay.writer(CLIENT_KEY).preflight(FLAG, "production")
    assert "authorizedKeys.admin" in problem and CLIENT_KEY not in problem
    with pytest.raises(ProviderError, match=r"authorizedKeys\.admin") as caught:
        relay.writer(CLIENT_KEY).turn_off(FLAG, "production", comment="", expected=None)
    assert not caught.value.retry


def test_an_unknown_flag_is_reported(relay: Relay) -> None:
    (problem,) = relay.writer().preflight("typo", "production")
    assert "no flag 'typo' (there are: checkout-v2, other)" in problem
