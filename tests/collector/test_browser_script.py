"""The script that sites load: how it is served, and what the door makes of a browser's signals."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from collector_harness import Edge
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.admission.privacy_control import refuse_by_gpc
from gtm_dagster.collector.browser_script import script
from gtm_dagster.privacy.consent import OFF, REQUIRED, ConsentPolicy

MOST_BYTES = 3_000
EVENT = {"event_id": "0198c9a0-0000-7000-8000-00000000000a", "event_name": "page_viewed", "anonymous_id": "visitor"}


def test_it_is_small_and_says_nothing_of_its_making() -> None:
    served = script("required")
    assert len(gzip.compress(served, 9, mtime=0)) <= MOST_BYTES
    assert b"//" not in served.replace(b"://", b"") and b"DEFAULT_CONSENT" not in served
    for word in (b"eval", b"Function(", b"innerHTML", b"document.write"):
        assert word not in served, "it runs under a content security policy without unsafe-eval"


@pytest.mark.skipif(
    shutil.which("node") is None, reason="Node.js is not here; test_browser_snippet.py runs it in Chromium"
)
def test_its_syntax(tmp_path: Path) -> None:
    path = tmp_path / "gtm.js"
    path.write_bytes(script("required"))
    checked = subprocess.run(["node", "--check", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_it_is_served_to_anybody_and_kept_by_browsers(edge: Edge) -> None:
    edge.keys.add("shop")  # from now on no page is open without a key, but this one
    whole = edge.ask("GET", "/gtm.js", [b""], {"Host": "events.example", "X-Forwarded-For": "203.0.113.9"})
    assert (whole.status, whole.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert (
        whole.headers["cache-control"] == "public, max-age=3600"
        and whole.headers["x-content-type-options"] == "nosniff"
    )
    packed = edge.ask("GET", "/gtm.js", [b""], {"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == whole.body
    assert packed.headers["etag"] != whole.headers["etag"] and packed.headers["vary"] == "accept-encoding"
    for accepted, tag in (
        ({}, whole.headers["etag"]),
        ({"Accept-Encoding": "gzip"}, f'W/"x", {packed.headers["etag"]}'),
    ):
        again = edge.ask("GET", "/gtm.js", [b""], {**accepted, "If-None-Match": tag})
        assert (again.status, again.body) == (304, b"") and "content-length" not in again.headers
    assert edge.ask("GET", "/gtm.js", [b""], {"If-None-Match": '"another"'}).status == 200
    assert "content-encoding" not in edge.ask("GET", "/gtm.js", [b""], {"Accept-Encoding": "gzip;q=0"}).headers
    assert edge.ask("HEAD", "/gtm.js", [b""], {}).body == b""


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        (REQUIRED, "required"),
        (ConsentPolicy({"default": "opt_out"}), "opt_out"),
        (OFF, "opt_out"),
        (ConsentPolicy({"default": "off", "EU": "required"}), "required"),
    ],
    ids=["required", "opt_out", "off", "required where some visitors may be"],
)
def test_what_it_does_without_data_consent_is_the_collectors_policy(
    edge: Edge, policy: ConsentPolicy, mode: str
) -> None:
    served = edge.ask("GET", "/gtm.js", [b""], {}, edge.app_on(edge.log, policy))
    assert served.body == script(mode)


@pytest.mark.parametrize(
    ("role", "signal", "consent", "stored"),
    [
        ("client", "1", {"analytics": True, "marketing": True}, {"analytics": True, "marketing": False, "personalization": False}),
        ("client", " 1 ", None, {"marketing": False, "personalization": False}),
        ("client", "1", {"personalization": True}, {"marketing": False, "personalization": False}),
        ("client", "0", {"marketing": True}, {"marketing": True}),
        ("client", "true", {"marketing": True}, {"marketing": True}),
        ("client", None, {"marketing": True}, {"marketing": True}),
        ("server", "1", {"marketing": True}, {"marketing": True}),
    ],
    ids=["a yes is none", "without a word", "other purposes too", "0", "only 1 counts", "no signal", "of a server, not of a person"],
)  # fmt: skip
def test_a_browsers_privacy_control_wins(
    edge: Edge, role: str, signal: str | None, consent: dict | None, stored: dict
) -> None:
    headers = {"X-Write-Key": edge.keys.add("page", role=role)} | ({"Sec-GPC": signal} if signal else {})
    event = EVENT | ({"context": {"consent": consent, "page_url": "https://shop.example/"}} if consent else {})
    refused = EVENT | {"event_id": "e2", "event_name": "nope", "context": {"consent": consent or {}}}
    assert edge.post([event, refused], headers=headers).status == 200
    accepted, quarantined = edge.records()
    assert (accepted.verdict, json.loads(accepted.consent or "null")) == ("accepted", stored)
    original = json.loads(edge.sealer.open(quarantined.sealed))
    assert original["context"]["consent"] == stored, "a replay knows it too"


def test_privacy_control_does_not_ask_for_analytics_or_grant_it(edge: Edge) -> None:
    app = edge.app_on(edge.log, REQUIRED)
    key = {"X-Write-Key": edge.keys.add("page", role="client"), "Sec-GPC": "1"}
    for consent, verdict in (
        ({"analytics": True}, "accepted"),
        ({"analytics": False}, "suppressed"),
        ({}, "suppressed"),
    ):
        answer = edge.post(
            EVENT | {"event_id": f"e-{verdict}-{len(consent)}", "context": {"consent": consent}}, headers=key, app=app
        )
        assert answer.json()["results"][0]["status"] == verdict


def test_privacy_control_makes_no_event_too_large(tmp_path: Path) -> None:
    edge = Edge(tmp_path, max_event_bytes=300)
    key = {"X-Write-Key": edge.keys.add("page", role="client"), "Sec-GPC": "1"}
    for size in (300, 301):
        start, end = json.dumps(EVENT | {"event_id": f"e-{size}", "properties": {}})[:-1].rsplit("}", 1)
        body = f"{start}{' ' * (size - len(start + end) - 2)}}}{end}}}".encode()
        assert len(body) == size and edge.post(body, headers=key).status == 200
    fitting, large = edge.records()
    assert (fitting.verdict, large.reason_codes) == ("accepted", "too_large")
    assert json.loads(edge.sealer.open(large.sealed))["context"]["consent"]["marketing"] is False
    edge.log.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("consent"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    JSON
    | st.fixed_dictionaries({"context": JSON})
    | st.fixed_dictionaries({"context": st.fixed_dictionaries({"consent": JSON}), "x": JSON})
)
def test_privacy_control_changes_nothing_else(value: object) -> None:
    changed = json.loads(refuse_by_gpc(json.dumps(value).encode()))
    context = value.get("context") if isinstance(value, dict) else None
    readable = isinstance(value, dict) and (
        context is None or (isinstance(context, dict) and isinstance(context.get("consent"), dict | None))
    )
    if readable:
        no = {"marketing": False, "personalization": False}
        value = value | {"context": (context or {}) | {"consent": ((context or {}).get("consent") or {}) | no}}
    assert changed == value


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 5000, b'{"a":' * 5000, b'{"\xff":1}', b"\x00", b'{"context":1} x'])
def test_what_cannot_be_read_stays(raw: bytes) -> None:
    assert refuse_by_gpc(raw) == raw


@pytest.mark.parametrize(
    ("clock", "off_by"),
    [(timedelta(hours=3), 0), (timedelta(days=-400), 0), (timedelta(seconds=20), 20), (None, 10_800)],
    ids=[
        "three hours ahead",
        "a year behind",
        "believed within a minute",
        "without the time of sending nothing is known",
    ],
)
def test_a_browsers_clock_is_put_right_by_the_time_of_sending(
    edge: Edge, clock: timedelta | None, off_by: float
) -> None:
    """An event of one minute before it was sent, by a clock that is off."""
    now = datetime.now(UTC)
    wrong = now + (clock or timedelta(hours=3))
    client = edge.keys.add("page", role="client")
    sent_at = f"&sentAt={wrong.isoformat().replace('+', '%2B')}" if clock else ""
    event = EVENT | {"timestamp": (wrong - timedelta(minutes=1)).isoformat()}
    answer = edge.post(
        [event, {"event_id": "odd", "timestamp": 1}, 7],
        f"/ingest?writeKey={client}{sent_at}",
        {"Content-Type": "text/plain"},
    )
    assert [one["status"] for one in answer.json()["results"]][1:] == ["quarantined", "quarantined"], (
        "and no other event suffers"
    )
    record = edge.records()[0]
    if clock is None:
        assert record.reason_codes == "future_timestamp"
        return
    moved = record.event_us / 1e6 - (now.timestamp() - 60)
    assert abs(moved - off_by) < 5
