"""Real clients of servers, unmodified, against a running collector: every event is stored or quarantined with a reason, and
nothing that was accepted is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from captured_requests import counted
from installed_clients import require_clients, send
from running_collector import Running, running_collector

pytestmark = pytest.mark.real
FULL = {"user_identified": 3, "trial_started": 1, "page_viewed": 2}
CLIENTS = {
    # client: what is stored; besides it one event of a name that the plan does not know is quarantined
    "python:segment": FULL,
    "python:segment_gzip": FULL,
    "python:rudder": FULL,
    "python:posthog": {"trial_started": 1, "user_identified": 2},
    "python:posthog_v1": {"trial_started": 1, "user_identified": 2},
    "python:snowplow": {"page_viewed": 1, "trial_started": 1},
    "python:snowplow_get": {"page_viewed": 1, "trial_started": 1},
    "python:cloudevents": {"trial_started": 1},
    "python:mixpanel": {"trial_started": 1, "user_identified": 1},
    "python:amplitude": {"trial_started": 1},
    "node:segment": {"user_identified": 2, "trial_started": 1, "page_viewed": 1},
    "node:analytics": {"user_identified": 1, "trial_started": 1},
    "node:rudder": {"user_identified": 1, "trial_started": 1, "page_viewed": 1},
    "node:posthog": {"trial_started": 1, "user_identified": 1},
    "node:snowplow": {"page_viewed": 1, "trial_started": 1},
    "node:snowplow_get": {"page_viewed": 1, "trial_started": 1},
    "node:cloudevents": {"trial_started": 1},
    "node:jitsu": {"user_identified": 1, "trial_started": 1, "page_viewed": 1},
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    require_clients()
    with running_collector(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.mark.parametrize("client", CLIENTS)
def test_every_event_is_stored_or_refused_with_a_reason_and_none_is_sent_again(collector: Running, client: str) -> None:
    seen, before = len(collector.records()), counted(collector.url, collector.server)
    send(client, collector.url)
    after = counted(collector.url, collector.server)
    new = collector.records()[seen:]
    stored = Counter(record.event_name for record in new if record.verdict == "accepted")
    refused = [record.reason_codes for record in new if record.verdict == "quarantined"]
    assert (dict(stored), refused) == (CLIENTS[client], ["unknown_event"])
    assert after["duplicate"] == before["duplicate"] and after["conflict"] == before["conflict"]
    assert {record.write_key for record in new} == {"web"}
    assert not any("jane@example.com" in str(record) for record in new)
