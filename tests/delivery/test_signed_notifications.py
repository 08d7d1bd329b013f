"""Messages of guards go out as those of triggers do: signed where there is a secret, and to one's own addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering
from message_cases import SECRET

from gtm_dagster.delivery import deliver_due
from gtm_dagster.delivery.signatures import signature, signing_keys
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Notify, Settings

PAYLOAD = json.dumps({"event": "blind", "guard": "g", "text": "the guard is BLIND, ü", "figures": {}})


def delivered(tmp_path: Path, declared: Notify, environ: dict[str, str]) -> str | None:
    settings = Settings(state_dir=tmp_path, notify=(declared,))
    with OpsStore.of(settings) as store:
        store.enqueue("e:1", "e", f"{declared.kind}[0]", PAYLOAD, 0)
        (delivery,) = deliver_due(store, settings, 1, environ)
    return delivery.error


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_a_sink_with_a_secret_gets_a_signature(tmp_path: Path, kind: str) -> None:
    with Receiver(answering(200)) as receiver:
        assert delivered(tmp_path, Notify(kind, url=receiver.url, secret_env="S"), {"S": SECRET}) is None
        ((_, headers, body),) = receiver.requests
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(signing_keys(SECRET), headers["webhook-id"], stamp, body)
    assert headers["content-type"] == "application/json"


def test_one_without_a_secret_gets_none_and_loopback_needs_no_allow(tmp_path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        assert delivered(tmp_path, Notify(url=receiver.url), {}) is None
        assert "webhook-signature" not in receiver.requests[0][1]


@pytest.mark.parametrize(
    ("environ", "error"),
    [({}, "no secret to sign with: set S"), ({"S": "geheim"}, "S: secret 1 does not begin with whsec_; make one with `gtm trigger secret`")],
)  # fmt: skip
def test_a_secret_that_is_missing_or_none_is_named_and_nothing_goes_out_unsigned(
    tmp_path: Path, environ: dict[str, str], error: str
) -> None:
    with Receiver(answering(200)) as receiver:
        assert delivered(tmp_path, Notify(url=receiver.url, secret_env="S"), environ) == error
        assert receiver.requests == []


def test_user_info_in_an_own_address_signs_in_as_before(tmp_path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        url = receiver.url.replace("http://", "http://user:w%40rd@")
        assert delivered(tmp_path, Notify(url=url), {}) is None
        ((_, headers, _),) = receiver.requests
    assert headers["authorization"] == "Basic dXNlcjp3QHJk"
