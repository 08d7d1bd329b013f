"""A sink that redirects gets nothing sent on: a message with a loss in it goes to the declared address alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback import Answer, serve

from gtm_dagster.delivery import deliver_due
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Notify, Settings

PAYLOAD = json.dumps({"event": "rolled_back", "guard": "g", "text": "checkout-v2 was rolled back", "figures": {}})


@pytest.mark.parametrize("kind", ["webhook", "slack"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_a_sink_is_not_followed(tmp_path: Path, kind: str, status: int) -> None:
    with serve({("GET", "/elsewhere"): Answer(200), ("POST", "/elsewhere"): Answer(200)}) as server:
        server.always["POST", "/hook"] = Answer(status, None, {"Location": f"{server.url}/elsewhere"})
        settings = Settings(state_dir=tmp_path, notify=(Notify(kind, url=f"{server.url}/hook"),))
        with OpsStore.of(settings) as store:
            store.enqueue("1", "episode", f"{kind}[0]", PAYLOAD, 0)
            (delivery,) = deliver_due(store, settings, 1)
            assert delivery.error == f"answered {status}"
            (note,) = store.notifications()
            assert note.status == "pending", "it is sent again later"
        assert [(call.method, call.path) for call in server.asked] == [("POST", "/hook")]
