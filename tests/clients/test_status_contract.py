"""How real clients take the answers of a collector: which they send again, and that an accepted batch is sent once.

Each client's first request is answered as the column says, by a proxy; all others reach the collector. `POSTS` are the
requests that the client makes in all. It is why every batch that is taken is answered 200 here, why errors have `code` and
`message`, and why a batch of Snowplow's trackers that is too large is answered 200 too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from captured_requests import counted
from faulty_proxy import WITHOUT_CODE, Fault, faulty_proxies
from installed_clients import STORED, require_clients, send
from running_collector import Running, running_collector

pytestmark = pytest.mark.real
FAULTS = {
    "429": Fault(429, {"retry-after": "2"}),
    "503": Fault(503, {"retry-after": "1"}),
    "400": Fault(400),
    "400 without a code": Fault(400, body=WITHOUT_CODE),
    "413": Fault(413),
    "202": Fault(202, is_stored=True),
    "204": Fault(204, is_stored=True),
    "207": Fault(207, is_stored=True),
    "200": Fault(200, body=b'{"status":1}', is_stored=True),
}
POSTS = {
    # client: requests in all, in the order of FAULTS; two are sent anyhow where the first event goes alone
    "python:segment": (2, 2, 1, 1, 1, 1, 1, 1, 1),
    "python:rudder": (2, 2, 1, 2, 1, 2, 2, 2, 1),
    "python:posthog": (2, 2, 1, 1, 1, 2, 2, 2, 1),
    "python:posthog_v1": (2, 2, 1, 1, 1, 1, 1, 1, 1),
    "python:snowplow": (2, 2, 1, 1, 2, 1, 1, 1, 1),
    "node:segment": (2, 2, 1, 1, 1, 1, 1, 1, 1),
    "node:analytics": (3, 3, 2, 2, 2, 2, 2, 2, 2),
    "node:rudder": (3, 3, 2, 2, 2, 2, 2, 2, 2),
    "node:posthog": (2, 2, 1, 1, 4, 1, 1, 1, 1),
    "node:snowplow": (1, 1, 1, 1, 1, 1, 1, 1, 1),
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    require_clients()
    with running_collector(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.mark.parametrize("client", POSTS)
def test_scenario_2_which_answers_make_a_client_send_again(collector: Running, client: str) -> None:
    before = counted(collector.url, collector.server)
    with faulty_proxies(collector.url, FAULTS) as proxies:
        send(client, *(proxy.url for proxy in proxies.values()))
        posts = {name: proxy.requests for name, proxy in proxies.items()}
    after = counted(collector.url, collector.server)
    assert posts == dict(zip(FAULTS, POSTS[client], strict=True))
    batches, events = posts["200"], sum(STORED[client].values())
    in_first = events if batches == 1 else 1
    lost = sum(1 for name, fault in FAULTS.items() if not fault.is_stored and posts[name] == batches)
    again = sum(posts[name] - batches for name in ("202", "204", "207"))
    found = {verdict: after[verdict] - before[verdict] for verdict in ("accepted", "duplicate", "conflict")}
    assert found == {"accepted": len(FAULTS) * events - lost * in_first, "duplicate": again * in_first, "conflict": 0}
