"""gtm.js in Chromium: a shop of three pages, a collector of another origin, visitors whose truth is planted, a refresh."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from collector_server import Server
from warehouse_cases import refresh, rows_of

from gtm_dagster.collector import KeyStore
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.tracking import GtmTracker
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing.from_log import land_log

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    # what calls itself HeadlessChrome is a program and gets no credit; a page's setting does not reach its beacons
    "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
]
AD = "/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=EAIaIQobChMI"
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>{title}</title>
<script nonce="n">
window.gtm = window.gtm || function () {{ (gtm.q = gtm.q || []).push(arguments); }};
window.dataLayer = window.dataLayer || [];
function gtag() {{ dataLayer.push(arguments); }}
{inline}
</script>
<script async src="{collector}/gtm.js" data-key="{key}" {attributes}></script>
<a id="ad" href="http://shop.example:{port}{ad}">ad</a> <a id="pricing" href="/pricing">pricing</a>
<a id="signup" href="/signup">sign up</a>"""
WAIT_FOR_CONSENT = "gtag('consent', 'default', {ad_storage: 'denied', ad_user_data: 'denied', ad_personalization: 'denied', analytics_storage: 'denied'});"
GRANT = "gtag('consent', 'update', {ad_storage: 'granted', ad_user_data: 'granted', ad_personalization: 'granted', analytics_storage: 'granted'})"
STORED = "() => [document.cookie, ...Object.entries(localStorage), ...Object.entries(sessionStorage)].filter(Boolean)"
LOADED = "() => window.gtm && gtm.loaded"


class Site:
    """One server for every *.example: what a page says before the script loads and the script's attributes are set here."""

    def __init__(self) -> None:
        self.inline, self.attributes, self.collector, self.key = "", "", "", ""
        site = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = PAGE.format(
                    title=urlsplit(self.path).path, inline=site.inline, collector=site.collector, key=site.key,
                    attributes=site.attributes, port=site.port, ad=AD,
                ) if site.is_tagged(self.headers["host"]) else f'<a id="ad" href="http://shop.example:{site.port}{AD}">ad</a>'  # fmt: skip
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header(
                    "content-security-policy",
                    f"default-src 'none'; img-src data:; script-src 'nonce-n' {site.collector}; connect-src {site.collector}",
                )
                self.send_header("referrer-policy", "unsafe-url")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def is_tagged(self, host: str) -> bool:
        return host.startswith("shop.")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/", host: str = "shop.example") -> str:
        return f"http://{host}:{self.port}{path}"


class World(NamedTuple):
    site: Site
    collector: Server
    log: SqliteEventLog
    browser: Any
    settings: Settings
    backend_key: str

    def events(self) -> list[Any]:
        """What the log has of the page's key."""
        return [record for record in self.log.read_records(0)[0] if record.write_key == "page"]

    def wait(self, condition: Callable[[list[Any]], bool]) -> list[Any]:
        """The events, once they are so."""
        poll = threading.Event()
        for _ in range(600):
            if condition(events := self.events()):
                return events
            for context in self.browser.contexts:  # the driver works on routes and requests only while it is asked
                context.pages[0].evaluate("0")
            poll.wait(0.03)
        raise AssertionError([(each.event_name, each.page_url, each.consent) for each in self.events()])


class Visitor:
    """A browser profile of its own: its page, the requests it sent to the collector, and what went wrong in it."""

    def __init__(self, world: World, **options: Any) -> None:
        self.context = world.browser.new_context(**options)
        self.page = self.context.new_page()
        self.sent: list[Any] = []
        self.errors: list[str] = []
        self.context.on("request", lambda one: self.sent.append(one) if "/ingest" in one.url else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda one: self.errors.append(one.text) if one.type in ("error", "warning") else None)

    def go(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_function(LOADED)

    def stored(self) -> list[Any]:
        return [*self.page.evaluate(STORED), *self.context.cookies()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not here; `make test-real` installs it")
    from playwright.sync_api import sync_playwright

    state = tmp_path_factory.mktemp("state")
    site = Site()
    environment = {
        "GTM_COLLECTOR__CORS_ORIGINS": json.dumps([site.url("")]),
        "GTM_ATTRIBUTION__WINDOWS": json.dumps(
            [{"model": model, "lookback_hours": 168} for model in ("first_touch", "last_touch", "linear")]
        ),
        "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = load_settings(None, {"GTM_STATE_DIR": str(state), **environment})
        keys = KeyStore(settings.keys_dir)
        site.key = keys.add("page", role="client")
        collector = Server(state)
    site.collector = collector.url
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        log = SqliteEventLog(state / "events.db")
        yield World(site, collector, log, browser, settings, keys.add("backend"))
        log.close()
        browser.close()
    assert collector.stop(signal.SIGTERM) == 0
    site.stop()


def test_a_shops_visitors_from_consent_to_credit(world: World) -> None:
    """Ad -> consent given late -> single-page navigation -> sign-up -> payment at the backend; beside one who refuses and
    one with a privacy control.
    """
    site = world.site

    # who refuses is nobody: not a byte stored, not a request sent
    site.inline, site.attributes = WAIT_FOR_CONSENT, 'data-consent="required"'
    refuser = Visitor(world)
    refuser.go(site.url(AD))
    refuser.page.evaluate("gtm('track', 'pricing_viewed', {plan: 'pro'})")
    refuser.page.evaluate("gtag('consent', 'update', {analytics_storage: 'denied'})")
    refuser.page.evaluate("gtm('consent', {analytics: false})")
    refuser.page.evaluate(GRANT)  # a platform's yes does not lift the page's no
    refuser.page.click("#pricing")
    refuser.page.wait_for_function(LOADED)
    refuser.page.evaluate(
        "gtm('consent', {analytics: false}); gtm('identify', 'u-0'); history.pushState({}, '', '/more')"
    )
    assert refuser.stored() == []
    refuser.page.goto("about:blank")
    refuser.context.close()
    assert refuser.sent == [] and refuser.errors == [] and world.events() == []

    # an ad brings a customer, who decides on the second page
    customer = Visitor(world)
    customer.page.goto(site.url("/", host="search.example"))
    customer.page.click("#ad")
    customer.page.wait_for_function(LOADED)
    assert customer.stored() == [] and customer.sent == [], "before consent"
    customer.page.evaluate("gtm('consent', {analytics: false})")  # at first no
    assert customer.stored() == [] and customer.sent == []
    customer.go(site.url(AD))
    customer.page.evaluate("gtm('track', 'pricing_viewed', {plan: 'pro'})")
    assert customer.stored() == [] and customer.sent == [], "held in memory"
    customer.page.evaluate(GRANT)
    first = world.wait(lambda events: len(events) == 3)
    assert sorted(each.event_name for each in first) == ["consent_updated", "page_viewed", "pricing_viewed"]
    assert all(
        json.loads(each.consent) == {"analytics": True, "marketing": True, "personalization": True} for each in first
    )
    assert {each.anonymous_id for each in first} != {None} and len({each.anonymous_id for each in first}) == 1
    (kept,) = customer.page.evaluate("() => Object.entries(localStorage)")
    assert kept[0] == "gtm" and customer.context.cookies() == []

    # a single-page application: four addresses, six calls, one of them of the page it is on; a fragment is no page
    site.inline = f"{WAIT_FOR_CONSENT} {GRANT};"
    customer.page.evaluate("""() => {
        history.replaceState({}, '', location.href);
        history.pushState({}, '', '/plans');
    }""")
    world.wait(
        lambda events: [each.page_url for each in events if each.event_name == "page_viewed"][-1].endswith("/plans")
    )
    customer.page.evaluate("""async () => {
        history.pushState({}, '', '/plans#top');
        await new Promise((done) => setTimeout(done));  // the script looks in a task of its own
        history.pushState({}, '', '/plans/pro');
    }""")
    world.wait(lambda events: any(str(each.page_url).endswith("/plans/pro") for each in events))
    customer.page.evaluate("history.go(-2)")  # popstate
    world.wait(lambda events: len([each for each in events if each.event_name == "page_viewed"]) == 4)
    customer.page.click("#signup")  # another page: its consent comes from a platform at once, and is no news
    customer.page.wait_for_function(LOADED)

    # the collector is busy once: the same event again, once; faults of the page's calls stay where they are
    answers: list[int] = []

    def busy_once(route: Any) -> None:
        answers.append(503)
        if len(answers) == 1:
            route.fulfill(
                status=503,
                headers={
                    "retry-after": "1",
                    "access-control-allow-origin": "*",
                    "access-control-expose-headers": "retry-after",
                },
            )
        else:
            route.continue_()

    world.wait(lambda events: any(str(each.page_url).endswith("/signup") for each in events))
    customer.context.route("**/ingest?*", busy_once)
    customer.page.evaluate("""() => {
        gtm(); gtm('nothing', 1); gtm('toString'); gtm('consent', null); gtm('consent', 'update', {analytics: 'yes'});
        gtag('consent', 'update'); dataLayer.push(null, 7, {event: 'gtm.js'}, ['consent']);
        gtm('identify', 'u-1', {plan: undefined});
        gtm('track', 'signup_completed', {method: 'email'});
    }""")
    world.wait(lambda events: any(each.event_name == "signup_completed" for each in events))
    assert len(answers) == 2
    customer.context.unroute("**/ingest?*")
    customer.page.evaluate(
        "window.fetch = () => new Promise(() => 0); gtm('track', 'feature_used', {feature: 'export'})"
    )
    customer.page.goto("about:blank")  # a beacon alone can have brought what now arrives
    last = world.wait(lambda events: any(each.event_name == "feature_used" for each in events))
    assert customer.errors == [one for one in customer.errors if "503" in one], "nothing is thrown into the page"
    assert [each.event_name for each in last].count("consent_updated") == 1
    views = [each for each in last if each.event_name == "page_viewed"]
    assert [urlsplit(each.page_url).path for each in views] == ["/", "/plans", "/plans/pro", "/plans", "/signup"]
    assert [urlsplit(each.referrer or "").path for each in views] == ["", "/", "/plans", "/plans/pro", "/plans"]
    assert {each.verdict for each in last} == {"accepted"} and len({each.event_id for each in last}) == len(last)
    assert {each.anonymous_id for each in last} == {first[0].anonymous_id}, "one visitor on every page"
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", each.event_id)
        for each in last
    )

    # a privacy control beside a yes to everything, from a newspaper, where the page says that consent was given
    site.inline, site.attributes = "gtm('consent', {analytics: true, marketing: true});", 'data-consent="required"'
    reader = Visitor(world)
    reader.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
    )
    reader.page.goto(site.url("/", host="news.example"))
    reader.page.evaluate(f"location.href = {json.dumps(site.url('/pricing'))}")
    reader.page.wait_for_function(LOADED)
    reader.page.evaluate("gtm('identify', 'u-2'); gtm('track', 'signup_completed', {method: 'sso'})")
    reader.page.goto("about:blank")
    by_reader = world.wait(lambda events: len(events) >= len(last) + 4)[len(last) :]
    assert sorted(each.event_name for each in by_reader) == [
        "consent_updated",
        "page_viewed",
        "signup_completed",
        "user_identified",
    ]
    assert all(json.loads(each.consent)["marketing"] is False for each in by_reader)
    assert reader.errors == []

    # withdrawal: said once, then forgotten on the device
    reader.go(site.url("/pricing"))
    reader.page.evaluate("gtm('consent', {analytics: false})")
    assert reader.stored() == []
    withdrawn = world.wait(lambda events: json.loads(events[-1].properties or "{}").get("analytics") is False)[-1]
    assert withdrawn.anonymous_id == by_reader[0].anonymous_id
    reader.page.evaluate("gtm('track', 'pricing_viewed')")
    reader.context.close()
    customer.context.close()

    # the backend takes the payments; the planted truth: the ad brought u-1, the newspaper u-2
    with GtmTracker(world.collector.url, world.backend_key) as tracker:
        tracker.track("payment_completed", user_id="u-1", properties={"amount": 49.0, "currency": "EUR"})
        tracker.track("payment_completed", user_id="u-2", properties={"amount": 10.0, "currency": "EUR"})
        assert tracker.flush(20)
    land_log(BuildContext(world.settings, plan=None))
    refresh(world.settings)
    credited = rows_of(
        world.settings,
        "SELECT a.model, c.conversion_type, a.channel, a.source, a.medium, a.campaign, sum(a.credit), sum(a.value) "
        "FROM marts.attribution_credits a JOIN core.conversions c USING (conversion_id) GROUP BY ALL",
    )
    truth = {
        ("payment_completed", "Paid Search", "google", "cpc", "spring"): (1.0, 49.0),
        ("payment_completed", "Referral", "news.example", "referral", None): (1.0, 10.0),
        ("signup_completed", "Paid Search", "google", "cpc", "spring"): (1.0, None),
        ("signup_completed", "Referral", "news.example", "referral", None): (1.0, None),
    }
    for model in ("first_touch", "last_touch", "linear"):
        found = {(*key,): (credit, value) for name, *key, credit, value in credited if name == model}
        assert found == truth, model


def test_other_ways_to_put_it_on_a_site(world: World) -> None:
    """A cookie for all hosts of a site, first calls before the script, Sec-GPC of the request alone, a logout, and TCF."""
    site = world.site
    before = len(world.events())
    site.inline = "gtm('identify', 'u-3'); gtm('track', 'pricing_viewed', {plan: 'early'});"
    site.attributes = 'data-consent="granted" data-cookie="shop.example"'
    visitor = Visitor(world, extra_http_headers={"Sec-GPC": "1"})
    visitor.go(site.url("/?utm_source=letter#/start"))
    early = world.wait(lambda events: len(events) == before + 3)[before:]
    assert [each.event_name for each in early] == ["page_viewed", "user_identified", "pricing_viewed"]
    assert {each.consent for each in early} == {'{"analytics":true,"marketing":false,"personalization":false}'}, (
        "by the door"
    )
    (cookie,) = visitor.context.cookies()
    assert (cookie["name"], cookie["domain"], cookie["sameSite"]) == ("gtm", ".shop.example", "Lax")
    assert visitor.page.evaluate("() => localStorage.length") == 0
    visitor.page.evaluate("gtm('reset'); gtm('track', 'pricing_viewed', {plan: 'next'})")
    after = world.wait(lambda events: events[-1].event_name == "pricing_viewed" and len(events) > before + 3)[-1]
    assert after.user_id is None and after.anonymous_id != early[0].anonymous_id, "the next person at this device"
    visitor.context.close()

    site.attributes = 'data-consent="required"'
    site.inline = """let listener; window.__tcfapi = (command, version, done) => {
      const purposes = {1: true, 2: true, 7: false, 8: true};
      setTimeout(() => done({eventStatus: 'cmpuishown', purpose: {consents: {}}}, true));
      setTimeout(() => done({eventStatus: 'useractioncomplete', purpose: {consents: purposes}}, true), 10);
    };"""
    start = len(world.events())
    framework = Visitor(world)
    framework.go(site.url("/pricing"))
    by_tcf = world.wait(lambda events: len(events) == start + 2 and framework.sent)[start:]
    assert all(
        json.loads(each.consent) == {"analytics": True, "marketing": False, "personalization": False} for each in by_tcf
    )
    assert framework.errors == []
    query = parse_qs(urlsplit(framework.sent[0].url).query)
    assert set(query) == {"writeKey", "sentAt"} and "cookie" not in framework.sent[0].headers
    framework.context.close()
