"""Sends with one of the clients for Python to each of some collectors: python_clients.py CLIENT URL...

Run by the environment that scripts/install-clients makes. A client makes the same calls for every collector.
"""

import datetime
import sys
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

NOW = datetime.datetime.now(datetime.UTC)
TRIAL = {"plan": "pro", "trial_days": 14}


def calls(client: Any) -> None:
    client.identify("u1", {"email": "jane@example.com", "plan": "pro"})
    client.track("u1", "Trial Started", TRIAL, timestamp=NOW)
    client.track(user_id="u1", event="Song Played", properties={"title": "x"})
    client.page(anonymous_id="a1", name="Pricing", properties={"url": "https://shop.example/p?gclid=1", "path": "/p"})
    client.screen("u1", name="Home")
    client.group("u1", "acct-9", {"name": "Acme"})
    client.alias("a1", "u1")
    client.flush()
    client.join()


def segment(url: str) -> None:
    from segment.analytics.client import Client

    calls(Client("WK_test", host=url, upload_interval=0.2))


def segment_gzip(url: str) -> None:
    from segment.analytics.client import Client

    calls(Client("WK_test", host=url, gzip=True, upload_interval=0.2))


def rudder(url: str) -> None:
    from rudderstack.analytics.client import Client

    calls(Client("WK_test", host=url, gzip=True, upload_interval=0.2))


def posthog(url: str, **options: Any) -> None:
    from posthog import Posthog

    client = Posthog("phc_test", host=url, flush_interval=0.2, **options)
    client.capture("Trial Started", distinct_id="u1", properties=TRIAL, timestamp=NOW)
    client.capture("Song Played", distinct_id="u1", properties={"title": "x"})
    client.set(distinct_id="u1", properties={"plan": "pro"})
    client.alias("a1", "u1")
    client.shutdown()


def posthog_v1(url: str) -> None:
    posthog(url, capture_mode="v1")


def snowplow(url: str, method: str = "post") -> None:
    import snowplow_tracker as sp

    where = urllib.parse.urlsplit(url)
    emitter = sp.Emitter(
        where.hostname, protocol="http", port=where.port, method=method, batch_size=3, max_retry_delay_seconds=1
    )
    subject = sp.Subject()
    subject.set_user_id("u1")
    tracker = sp.Tracker(namespace="ns", emitters=emitter, app_id="app", subject=subject)
    tracker.track(sp.PageView("https://shop.example/p?gclid=1", "Pricing"))
    tracker.track(sp.StructuredEvent("shop", "add", label="sku", value=2))
    schema = "iglu:com.acme/trial_started/jsonschema/1-0-0"
    tracker.track(sp.SelfDescribing(sp.SelfDescribingJson(schema, TRIAL)))
    tracker.flush()
    time.sleep(2.5)  # it sends again by a timer


def snowplow_get(url: str) -> None:
    snowplow(url, "get")


def cloudevents(url: str) -> None:
    import requests
    from cloudevents.v1.http import CloudEvent, to_binary, to_structured

    for kind, form in (("trial_started", to_binary), ("song_played", to_structured)):
        event = CloudEvent({"type": f"com.acme.{kind}", "source": "/app", "subject": "u1"}, {"plan": "pro"})
        headers, body = form(event)
        requests.post(f"{url}/ingest", data=body, headers={**headers, "X-Write-Key": "WK_test"}, timeout=10)


def mixpanel(url: str) -> None:
    from mixpanel import Consumer, Mixpanel

    client = Mixpanel("MPTOK", consumer=Consumer(events_url=f"{url}/track", people_url=f"{url}/engage"))
    client.track("u1", "Trial Started", TRIAL)
    client.track("u1", "Song Played", {"title": "x"})
    client.people_set("u1", {"$email": "jane@example.com"})


def amplitude(url: str) -> None:
    from amplitude import Amplitude, BaseEvent

    client = Amplitude("AMPKEY")
    client.configuration.flush_interval_millis = 200
    client.configuration.server_url = f"{url}/2/httpapi"
    client.track(BaseEvent("Trial Started", user_id="u1", event_properties=TRIAL))
    client.track(BaseEvent("Song Played", user_id="u1"))
    for sent in client.flush():
        sent.result(timeout=20)
    client.shutdown()


CLIENTS: dict[str, Callable[[str], None]] = {
    each.__name__: each
    for each in (
        segment, segment_gzip, rudder, posthog, posthog_v1, snowplow, snowplow_get, cloudevents, mixpanel, amplitude,
    )
}  # fmt: skip

if __name__ == "__main__":
    with ThreadPoolExecutor() as threads:
        list(threads.map(CLIENTS[sys.argv[1]], sys.argv[2:]))
