"""Snowplow's trackers: what becomes of a payload, who it is of, when it was, which key it has, and how they are answered."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from collector.collector_harness import Edge
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.collector.protocols.snowplow_event import event_of
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
NOW_US = 1_790_000_000_000_000
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)
TP2 = "/com.snowplowanalytics.snowplow/tp2"
COMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce/{}/jsonschema/1-0-0"


def event(payload: dict[str, Any], *, anonymous: bool = False) -> dict[str, Any]:
    return event_of(payload, anonymous=anonymous, received_us=NOW_US, plan=PLAN)


def described(schema: str, data: Any) -> dict[str, Any]:
    return {"schema": schema, "data": data}


def ue(schema: str, data: Any, *entities: dict[str, Any]) -> dict[str, Any]:
    own = "iglu:com.snowplowanalytics.snowplow/{}/jsonschema/1-0-0"
    payload = {"e": "ue", "ue_pr": json.dumps(described(own.format("unstruct_event"), described(schema, data)))}
    return payload | ({"co": json.dumps(described(own.format("contexts"), list(entities)))} if entities else {})


def coded(payload: dict[str, Any], *, url_safe: bool = True, padded: bool = False) -> dict[str, Any]:
    """The payload with its JSON in base64, as trackers send it unless told otherwise."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    found = {name: value for name, value in payload.items() if name not in ("ue_pr", "co")}
    for plain, packed in (("ue_pr", "ue_px"), ("co", "cx")):
        if plain in payload:
            text = encode(payload[plain].encode()).decode()
            found[packed] = text if padded else text.rstrip("=")
    return found


TRIAL = ue("iglu:com.acme/trial_started/jsonschema/1-0-0", {"plan": "pró?>", "trial_days": 14, "tags": ["a"]})
TRANSACTION = described(COMMERCE.format("transaction"), {"transaction_id": "t-1", "revenue": 49.5, "currency": "EUR"})
REFUND = described(COMMERCE.format("refund"), {"transaction_id": "t-1", "refund_amount": 9, "currency": "EUR"})
CONSENT = "iglu:com.snowplowanalytics.snowplow/consent_preferences/jsonschema/1-0-0"
EVENTS = [
    ("a page", {"e": "pv", "url": "https://x.test/p?gclid=1", "page": "Pricing"}, "page_viewed", {"path": "/p", "title": "Pricing"}),
    ("a page without a title", {"e": "pv", "url": "https://x.test"}, "page_viewed", {}),
    ("an address that is none", {"e": "pv", "url": "http://[", "page": "P"}, "page_viewed", {"title": "P"}),
    ("a ping, which the plan has no event for", {"e": "pp", "pp_mix": "0"}, "page_ping", {}),
    ("a self-describing event", TRIAL, "trial_started", {"plan": "pró?>", "trial_days": 14}),
    ("the same in base64", coded(TRIAL), "trial_started", {"plan": "pró?>", "trial_days": 14}),
    ("the same in the other base64", coded(TRIAL, url_safe=False, padded=True), "trial_started", {"plan": "pró?>", "trial_days": 14}),
    ("a name in other words", ue("iglu:com.acme/PaymentCompleted/jsonschema/1-0-0", {"amount": 1}), "payment_completed", {"amount": 1}),
    ("a name the plan does not know", ue("iglu:com.acme/song_played/jsonschema/1-0-0", {"a": 1}), "song_played", {"a": 1}),
    ("data that is no object", ue("iglu:com.acme/trial_started/jsonschema/1-0-0", [1]), "trial_started", {}),
    ("no self-describing event at all", {"e": "ue", "ue_px": "***"}, "unreadable self-describing event", {}),
    ("a schema that is none", ue("trial_started", {}), "unreadable self-describing event", {}),
    ("a screen", ue("iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0", {"name": "Home", "id": "x"}), "page_viewed", {"title": "Home"}),
    ("a structured event by its action", {"e": "se", "se_ca": "shop", "se_ac": "trial_started", "se_la": "sku", "se_va": "2"}, "trial_started", {}),
    ("a structured event by both words", {"e": "se", "se_ca": "Payment", "se_ac": "Completed"}, "payment_completed", {}),
    ("a structured event of a plan that takes more", {"e": "se", "se_ca": "app", "se_ac": "feature_used", "se_la": "export", "se_va": "2.0"},
     "feature_used", {"label": "export", "value": 2.0}),
    ("an unknown structured event", {"e": "se", "se_ca": "shop", "se_ac": "add", "se_va": "2"}, "shop add", {"value": 2}),
    ("a transaction", {"e": "tr", "tr_id": "t-1", "tr_tt": "49.5", "tr_cu": "EUR", "tr_ci": "Brno"},
     "payment_completed", {"payment_id": "t-1", "amount": 49.5, "currency": "EUR"}),
    ("an item", {"e": "ti", "ti_id": "t-1", "ti_sk": "s", "ti_qu": "2"}, "transaction_item", {"payment_id": "t-1", "sku": "s", "quantity": 2}),
    ("a payment by the ecommerce plugin", ue(COMMERCE.format("snowplow_ecommerce_action"), {"type": "transaction"}, TRANSACTION),
     "payment_completed", {"payment_id": "t-1", "amount": 49.5, "currency": "EUR"}),
    ("a refund by it", coded(ue(COMMERCE.format("snowplow_ecommerce_action"), {"type": "refund"}, REFUND)),
     "payment_refunded", {"payment_id": "t-1", "amount": 9, "currency": "EUR"}),
    ("another action of it", ue(COMMERCE.format("snowplow_ecommerce_action"), {"type": "add_to_cart"}), "add_to_cart", {}),
    ("consent to all", ue(CONSENT, {"eventType": "allow_all", "consentVersion": "2"}),
     "consent_updated", {"analytics": True, "marketing": True, "personalization": True, "policy_version": "2"}),
    ("consent withdrawn", ue(CONSENT, {"event_type": "withdrawn"}), "consent_updated", {"analytics": False, "marketing": False, "personalization": False}),
    ("consent to some", ue(CONSENT, {"eventType": "allow_selected", "consentScopes": ["necessary", "statistics"]}),
     "consent_updated", {"analytics": True, "marketing": False, "personalization": False}),
    ("consent not answered", ue(CONSENT, {"eventType": "pending"}), "consent_updated", {}),
    ("a kind there is not", {"e": "xx"}, "xx", {}),
    ("no kind", {}, None, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "name", "properties"), [each[1:] for each in EVENTS], ids=[each[0] for each in EVENTS]
)
def test_a_payload_becomes_an_event_of_the_plan(payload: dict[str, Any], name: Any, properties: dict[str, Any]) -> None:
    found = event(payload)
    assert (found["event_name"], found["properties"]) == (name, properties)


def test_consent_counts_for_the_event_that_tells_of_it() -> None:
    found = event(ue(CONSENT, {"eventType": "allow_selected", "consentScopes": ["marketing"]}))
    assert found["context"]["consent"] == {"analytics": False, "marketing": True, "personalization": False}


SESSION = described("iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2", {"userId": "d9", "sessionId": "s9"})  # fmt: skip
PERSONS = [
    ("user, visitor and session", {"uid": "u1", "duid": "d1", "sid": "s1"}, False, ("u1", "d1", "s1")),
    ("a visitor", {"duid": "d1"}, False, (None, "d1", None)),
    ("an app's session", ue("x/y", {}, SESSION), False, (None, "d9", "s9")),
    ("the id that follows over sites", {"nuid": "n1", "tnuid": "n2"}, False, (None, None, None)),
    ("anonymous with a session: a visitor for it", {"uid": "u1", "duid": "d1", "sid": "s1"}, True, (None, "s1", "s1")),
    ("anonymous without", {"uid": "u1", "duid": "d1"}, True, (None, None, None)),
]


@pytest.mark.parametrize(
    ("payload", "anonymous", "expected"), [each[1:] for each in PERSONS], ids=[each[0] for each in PERSONS]
)
def test_whose_it_is(payload: dict[str, Any], anonymous: bool, expected: tuple[Any, ...]) -> None:
    found = event({"e": "pv", **payload}, anonymous=anonymous)
    assert tuple(found.get(field) for field in ("user_id", "anonymous_id", "session_id")) == expected


def ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


HOUR = timedelta(hours=1)
TIMES = [
    ("the device's time", {"dtm": ms(NOW - HOUR), "stm": ms(NOW)}, NOW - HOUR),
    ("the sending in whole seconds moves nothing", {"dtm": ms(NOW), "stm": ms(NOW - timedelta(seconds=1))}, NOW),
    ("a device an hour behind", {"dtm": ms(NOW - HOUR), "stm": ms(NOW - HOUR)}, NOW),
    ("a device a year ahead", {"dtm": ms(NOW + 8760 * HOUR - timedelta(seconds=9)), "stm": ms(NOW + 8760 * HOUR)}, NOW - timedelta(seconds=9)),
    ("kept for days by a right clock", {"dtm": ms(NOW - 72 * HOUR), "stm": ms(NOW)}, NOW - 72 * HOUR),
    ("the true time is believed", {"ttm": ms(NOW - 5 * HOUR), "dtm": ms(NOW), "stm": ms(NOW - HOUR)}, NOW - 5 * HOUR),
    ("no sending", {"dtm": ms(NOW - HOUR)}, NOW - HOUR),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "expected"), [each[1:] for each in TIMES], ids=[each[0] for each in TIMES])
def test_when_it_was(payload: dict[str, Any], expected: datetime) -> None:
    assert datetime.fromisoformat(event({"e": "pv", **payload})["timestamp"]) == expected


@pytest.mark.parametrize("given", ["yesterday", "", "9" * 30, "-5", True, {"a": 1}])
def test_a_time_that_is_none_goes_on_as_it_is(given: Any) -> None:
    assert event({"e": "pv", "dtm": given, "stm": ms(NOW)})["timestamp"] == given


CONTEXTS = [
    ({"url": "https://x.test/?utm_source=a", "refr": "https://news.test/"}, {"page_url": "https://x.test/?utm_source=a", "referrer": "https://news.test/"}),
    ({"mkt_source": "google", "mkt_medium": "cpc", "mkt_campaign": "spring", "mkt_term": "t", "mkt_content": "c"},
     {"source": "google", "medium": "cpc", "campaign": "spring", "term": "t", "content": "c"}),
    ({"lang": "de-DE", "tz": "Europe/Berlin", "p": "web", "ip": "203.0.113.7", "res": "800x600"}, {"locale": "de-DE", "timezone": "Europe/Berlin", "device_type": "web"}),
    ({"p": "srv", "gpp": "DBABBg~BAQAAABA.QA", "gpp_sid": "8"}, {"device_type": "api", "consent": {"marketing": False}}),
    ({"p": "mob"}, {"device_type": "mobile"}),
    ({"p": "pc", "tz": "GMT+1"}, {}),
    ({"url": {"no": "text"}, "lang": ""}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "expected"), CONTEXTS, ids=lambda value: str(value)[:40])
def test_the_context(payload: dict[str, Any], expected: dict[str, Any]) -> None:
    assert event({"e": "pv", **payload})["context"] == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["schema", "data", "a"]), inner),
    max_leaves=8,
)
FIELDS = ["e", "eid", "url", "uid", "duid", "sid", "dtm", "stm", "ttm", "ue_pr", "ue_px", "co", "cx", "se_ca", "se_ac",
          "se_va", "p", "tz", "tr_tt", "mkt_source"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["pv", "se", "ue", "tr", "ti", "pp"])))
def test_no_payload_breaks_it(payload: dict[str, Any]) -> None:
    json.dumps(event(payload))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Edge]:
    made = Edge(tmp_path, client_ids={"shop-web": "web", "back-office": "backend"}, max_batch_events=10)
    made.secret = made.keys.add("web", role="client")  # type: ignore[attr-defined]
    made.server = made.keys.add("backend")  # type: ignore[attr-defined]
    yield made
    made.log.close()


def payload_data(*payloads: dict[str, Any]) -> dict[str, Any]:
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    return {"schema": schema, "data": list(payloads)}


def page(number: int, **fields: Any) -> dict[str, Any]:
    event_id = f"0198c9a0-0000-4000-8000-{number:012d}"
    return {"e": "pv", "url": "https://x.test/p", "eid": event_id, "duid": "d1", "aid": "shop-web", **fields}


def test_a_batch_is_answered_ok_and_stored_once(shop: Edge) -> None:
    batch = payload_data(page(1), page(2), coded({**TRIAL, "eid": "x-3", "uid": "u1"}), {"e": "pp", "duid": "d1"})
    for _ in range(2):
        answer = shop.post(batch, TP2, {})
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/plain; charset=utf-8")
    records = [(each.verdict, each.event_name, each.write_key) for each in shop.records()]
    assert records[:4] == [
        ("accepted", "page_viewed", "web"),
        ("accepted", "page_viewed", "web"),
        ("accepted", "trial_started", "web"),
        ("quarantined", "page_ping", "web"),
    ]
    assert all(verdict == "quarantined" for verdict, _, _ in records[4:]), "what was accepted came once"


def test_the_pixel_is_a_picture_that_no_browser_keeps(shop: Edge) -> None:
    answer = shop.ask("GET", f"/i?{urlencode(page(1))}", [b""], {"Origin": "https://x.test"})
    assert (answer.status, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.body.startswith(b"GIF89a") and "no-store" in answer.headers["cache-control"]
    assert [(each.verdict, each.page_url) for each in shop.records()] == [("accepted", "https://x.test/p")]
    head = shop.ask("HEAD", f"/i?{urlencode(page(2))}", [b""], {})
    assert head.status == 405 and len(shop.records()) == 1, "a HEAD stores nothing"


KEYS = [
    ("the app id stands for a client key", TP2, {}, "shop-web", 200, "web"),
    ("a header goes before it", TP2, {"X-Write-Key": "SERVER"}, "shop-web", 200, "backend"),
    ("a client key in the address", f"{TP2}?writeKey=CLIENT", {}, "other", 200, "web"),
    ("a client key as the app id", TP2, {}, "CLIENT", 200, "web"),
    ("an app id that nobody named", TP2, {}, "other", 401, "bad_key"),
    ("no app id", TP2, {}, None, 401, "no_key"),
    ("an app id named for a server key", TP2, {}, "back-office", 403, "not_a_client_key"),
    ("a server key as the app id of a pixel", "/i", {}, "SERVER", 403, "key_in_address"),
]


@pytest.mark.parametrize(
    ("path", "headers", "app", "status", "found"), [each[1:] for each in KEYS], ids=[each[0] for each in KEYS]
)
def test_which_key_it_has(
    shop: Edge, path: str, headers: dict[str, str], app: str | None, status: int, found: str
) -> None:
    secrets = {"CLIENT": shop.secret, "SERVER": shop.server}  # type: ignore[attr-defined]
    path = path.replace("CLIENT", secrets["CLIENT"])
    headers = {name: secrets.get(value, value) for name, value in headers.items()}
    sent = (
        page(1, aid=secrets.get(app, app)) if app else {name: value for name, value in page(1).items() if name != "aid"}
    )
    if path == "/i":
        answer = shop.ask("GET", f"/i?{urlencode(sent)}", [b""], headers)
    else:
        answer = shop.post(payload_data(sent), path, headers)
    assert answer.status == status
    assert (shop.records()[0].write_key if status == 200 else answer.json()["code"]) == found


@pytest.mark.parametrize(
    ("case", "limits"), [("bytes", {"max_body_bytes": 2_000}), ("events", {"max_batch_events": 3})]
)
def test_a_batch_beyond_the_limits_is_quarantined_and_not_sent_for_ever(
    shop: Edge, case: str, limits: dict[str, int]
) -> None:
    app = shop.app_on(shop.log, client_ids={"shop-web": "web"}, **limits)
    body = json.dumps(payload_data(*(page(number, pad="x" * 500) for number in range(5)))).encode()
    answer = shop.ask("POST", TP2, [body], {"Content-Length": str(len(body))}, app)
    assert (answer.status, answer.body) == (200, b"ok")
    (record,) = shop.records()
    assert (record.verdict, record.reason_codes, record.write_key) == ("quarantined", "too_large", "web")
    native = shop.ask("POST", "/ingest", [body], {"Content-Length": "3000", "X-Write-Key": "no key"}, app)
    assert native.status == 401, "nobody without a key is answered ok"


def test_one_event_that_is_too_large_costs_no_other(shop: Edge) -> None:
    app = shop.app_on(shop.log, client_ids={"shop-web": "web"}, max_event_bytes=2_000)
    assert shop.ask("POST", TP2, [json.dumps(payload_data(page(1), page(2, page="x" * 3_000))).encode()], {}, app).status == 200  # fmt: skip
    assert [(each.verdict, each.reason_codes) for each in shop.records()] == [("accepted", None), ("quarantined", "too_large")]  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"data": 7}', b'{"schema": "x"}'])
def test_what_is_no_payload_is_refused(edge: Edge, body: bytes) -> None:
    answer = edge.post(body, TP2)
    assert (answer.status, answer.json()["code"]) == (400, "unparseable")


def test_anonymous_tracking_is_told_by_a_header_which_pages_may_send(shop: Edge) -> None:
    app = shop.app_on(shop.log, client_ids={"shop-web": "web"}, cors_origins=("https://x.test",))
    asked = {
        "Origin": "https://x.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,sp-anonymous",
    }
    preflight = shop.ask("OPTIONS", TP2, [b""], asked, app)
    assert preflight.status == 204 and "sp-anonymous" in preflight.headers["access-control-allow-headers"]
    body = json.dumps(payload_data(page(1, uid="u1", sid="s1"))).encode()
    answer = shop.ask("POST", TP2, [body], {"SP-Anonymous": "*", "Origin": "https://x.test"}, app)
    assert answer.headers["access-control-allow-credentials"] == "true"
    (record,) = shop.records()
    assert record.user_id is None and record.anonymous_id == record.session_id == shop.pseudonymize("s1")
