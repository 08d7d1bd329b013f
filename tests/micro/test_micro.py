"""A collector in memory: what product teams ask it, and that it judges as the real one does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gtm_dagster.micro.running_micro import RunningMicro, running_micro
from gtm_dagster.privacy.consent import OFF

EVENT = {"event_id": "order-1", "event_name": "payment_completed", "user_id": "u-1", "properties": {"amount": 5, "currency": "EUR"}}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[RunningMicro]:
    with running_micro() as micro:
        yield micro


@pytest.fixture
def micro(server: RunningMicro) -> RunningMicro:
    server.reset()
    return server


def post(micro: RunningMicro, body: object, path: str = "/ingest", key: str | None = "any") -> requests.Response:
    headers = {} if key is None else {"X-Write-Key": key}
    data = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(micro.url + path, data=data, headers=headers, timeout=5)


def page(micro: RunningMicro, name: str):
    answer = requests.get(f"{micro.url}/micro/{name}", timeout=5)
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_pages(micro: RunningMicro) -> None:
    refused = {**EVENT, "event_id": "order-2", "properties": {"amount": -1}}
    browsing = {"event_id": "view-1", "event_name": "page_viewed", "anonymous_id": "a"}
    assert post(micro, [EVENT, EVENT, refused, browsing]).json()["accepted"] == 1
    assert post(micro, {**EVENT, "properties": {"amount": 6, "currency": "EUR"}}).json()["duplicates"] == 1
    assert page(micro, "all") == {
        "total": 5, "accepted": 1, "duplicates": 2, "quarantined": 1, "suppressed": 1, "refused": 0
    }  # fmt: skip
    (good,) = page(micro, "good")
    assert (good["event_id"], good["user_id"], good["write_key"]) == ("order-1", "u-1", "any")
    assert good["properties"] == EVENT["properties"] and good["context"] == {"device_type": "api"}
    quarantined, suppressed = page(micro, "bad")
    assert quarantined["event"] == refused
    assert {error["path"] for error in quarantined["errors"]} == {"properties.amount", "properties.currency"}
    assert suppressed["status"] == "suppressed" and suppressed["errors"][0]["code"] == "consent"
    assert page(micro, "good?event_name=page_viewed") == []
    assert page(micro, "reset")["total"] == 0
    assert page(micro, "good") == page(micro, "bad") == []
    assert post(micro, EVENT).json()["accepted"] == 1, "a reset forgets ids too"


@pytest.mark.parametrize(
    ("body", "key", "status", "code"),
    [
        pytest.param(b"{", "k", 400, "unparseable", id="no JSON"),
        pytest.param([], None, 401, "no_key", id="no key"),
        pytest.param([{}] * 5001, "k", 413, "too_many_events", id="too many"),
    ],
)
def test_a_request_that_is_refused_is_bad(micro: RunningMicro, body: object, key: str | None, status: int, code: str) -> None:  # fmt: skip
    assert post(micro, body, key=key).status_code == status
    assert page(micro, "all")["refused"] == 1
    (bad,) = page(micro, "bad")
    assert (bad["status"], bad["request"], bad["errors"][0]["code"]) == (
        "refused", {"path": "/ingest", "status": status}, code
    )  # fmt: skip


def test_it_speaks_the_protocols_of_the_collector(micro: RunningMicro) -> None:
    segment = {"type": "track", "event": "payment_completed", "userId": "u", "messageId": "order-9", "properties": {"amount": 1, "currency": "EUR"}}  # fmt: skip
    assert post(micro, {"batch": [segment]}, "/v1/batch").status_code == 200
    assert [event["event_id"] for event in micro.good()] == ["order-9"]


def test_what_is_at_no_path_is_said(micro: RunningMicro) -> None:
    assert requests.get(f"{micro.url}/micro/nothing", timeout=5).json()["code"] == "not_found"


def test_a_tracker_of_the_micro(micro: RunningMicro) -> None:
    tracker = micro.tracker(consent={"analytics": True})
    for n in range(3):
        tracker.track("page_viewed", anonymous_id="a", properties={"n": n})
    assert [event["properties"]["n"] for event in micro.good("page_viewed")] == [0, 1, 2]
    assert micro.good("signup_completed", count=1, timeout=0.1) == []


def test_without_consent_where_nobody_has_to_ask() -> None:
    with running_micro(consent=OFF) as micro:
        micro.tracker().track("page_viewed", anonymous_id="a")
        assert micro.counts()["accepted"] == len(micro.good()) == 1


def test_the_command_writes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "GTM_STATE_DIR": str(tmp_path / "state")}
    command = [sys.executable, "-m", "gtm_dagster.cli", "micro", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[0-9.:]+", process.stdout.readline())
        assert found
        url = found.group()
        deadline = 50
        while deadline:
            try:
                answer = requests.post(f"{url}/ingest", json=EVENT, headers={"X-Write-Key": "k"}, timeout=5)
                break
            except requests.ConnectionError:
                deadline -= 1
                process.poll()
        assert answer.json()["accepted"] == 1
        assert requests.get(f"{url}/micro/good", timeout=5).json()[0]["user_id"] == "u-1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert list(tmp_path.rglob("*")) == []


PRODUCT = '''
"""The tests of a product that tracks."""
import pytest

class Shop:
    def __init__(self, tracker):
        self.tracker = tracker

    def pay(self, user, amount):
        self.tracker.track("payment_completed", user_id=user, properties={"amount": amount, "currency": "EUR"})

@pytest.fixture
def shop(gtm_micro):
    return Shop(gtm_micro.tracker())

@pytest.mark.parametrize("n", [1, 2])
def test_a_payment_is_told_once(shop, gtm_micro, n):
    shop.pay(f"u-{n}", 49.0)
    (event,) = gtm_micro.good("payment_completed", count=1)
    assert (event["user_id"], event["properties"]["amount"]) == (f"u-{n}", 49.0)
    assert gtm_micro.bad() == []

def test_a_plan_of_its_own(gtm_micro):
    gtm_micro.tracker().track("ordered", user_id="u")
    assert len(gtm_micro.good("ordered", count=1)) == 1

def test_a_wrong_test_fails(shop, gtm_micro):
    shop.pay("u", 49.0)
    assert gtm_micro.good("payment_completed", count=1) == []
'''


def test_the_tests_of_a_product(tmp_path: Path) -> None:
    """A suite with the plugin of the entry point, which a checkout names by -p."""
    plan = "version: 1-0-0\nevents:\n  ordered: {basis: contract}\n  payment_completed:\n    basis: contract\n    properties: {amount: {type: number}, currency: {type: string}}\n"
    (tmp_path / "plan.yaml").write_text(plan)
    (tmp_path / "test_shop.py").write_text(PRODUCT)
    (tmp_path / "pytest.ini").write_text("[pytest]\ngtm_micro_plan = plan.yaml\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if "gtm_micro" not in _entry_points():
        command += ["-p", "gtm_dagster.micro.pytest_fixture"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "3 passed" in done.stdout and "1 failed" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_shop.py::test_a_wrong_test_fails" in done.stdout


def _entry_points() -> set[str]:
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="pytest11")}


def test_the_plugin_is_declared_and_imports_nothing_of_ours() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"gtm_micro": "gtm_dagster.micro.pytest_fixture"}
    code = "import sys, gtm_dagster.micro.pytest_fixture; print(*(name for name in sys.modules if name.startswith('gtm_dagster')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"gtm_dagster", "gtm_dagster.micro", "gtm_dagster.micro.pytest_fixture"}
