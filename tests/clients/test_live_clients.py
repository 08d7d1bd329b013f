"""Real clients of servers, unmodified, against a running collector: every event is stored or quarantined with a reason, and
nothing that was accepted is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from captured_requests import counted
from installed_clients import STORED, require_clients, send
from running_collector import Running, running_collector

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    require_clients()
    with running_collector(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.mark.parametrize("client", STORED)
def test_scenario_1_every_event_is_stored_or_refused_with_a_reason_and_none_is_sent_again(
    collector: Running, client: str
) -> None:
    seen, before = len(collector.records()), counted(collector.url, collector.server)
    send(client, collector.url)
    after = counted(collector.url, collector.server)
    new = collector.records()[seen:]
    stored = Counter(record.event_name for record in new if record.verdict == "accepted")
    refused = [record.reason_codes for record in new if record.verdict == "quarantined"]
    assert (dict(stored), refused) == (STORED[client], ["unknown_event"])
    assert after["duplicate"] == before["duplicate"] and after["conflict"] == before["conflict"]
    assert {record.write_key for record in new} == {"web"}
    assert not any("jane@example.com" in str(record) for record in new)
