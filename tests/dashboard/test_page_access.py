"""Who may see a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_cases import dashboard, publish, settings_in, small

from gtm_dagster.dashboard.page_access import COOKIE, AccessError, PageAccess
from gtm_dagster.settings import Dashboard

TOKEN = "a-token-of-more-than-24-characters"
WITH_TOKEN = Dashboard(token_env="DASH", hosts=("dash.example",))
PROXIED = Dashboard(proxy_header="X-User", proxy_addresses=("10.0.0.5",), hosts=("dash.example",))
ELSEWHERE = {"host": "dash.example"}


@pytest.mark.parametrize(
    ("settings", "address", "environment", "said"),
    [
        (Dashboard(), "192.0.2.1", {}, "set dashboard.token_env"),
        (Dashboard(), "0.0.0.0", {}, "set dashboard.token_env"),
        (WITH_TOKEN, "192.0.2.1", {}, "is not set"),
        (WITH_TOKEN, "192.0.2.1", {"DASH": "short"}, "24 or more"),
        (WITH_TOKEN, "127.0.0.1", {}, "is not set"),
        (Dashboard(proxy_header="X-User"), "192.0.2.1", {}, "proxy_addresses is empty"),
        (Dashboard(proxy_header="X-User", proxy_addresses=("nginx",)), "127.0.0.1", {}, "not an IP address"),
    ],
)
def test_it_does_not_start_where_anybody_could_read_it(settings, address, environment, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AccessError, match=said):
        PageAccess(settings, address, environment)


@pytest.mark.parametrize(
    ("settings", "address", "headers", "client", "status"),
    [
        (Dashboard(), "127.0.0.1", {}, "127.0.0.1", 200),
        (Dashboard(), "::1", {"host": "[::1]:8380"}, "::1", 200),
        (Dashboard(), "127.0.0.1", {"host": "localhost:8380"}, "127.0.0.1", 200),
        (Dashboard(), "127.0.0.1", {"host": "evil.example"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"host": "127.0.0.1.evil.example"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"host": "127.0.0.1@evil.example"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"host": "127.0.0.1:x"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, "127.0.0.1", 401),
        (Dashboard(), "127.0.0.1", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, "127.0.0.1", 200),
        (Dashboard(), "127.0.0.1", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, "127.0.0.1", 403),
        (Dashboard(), "127.0.0.1", {"origin": "https://evil.example"}, "127.0.0.1", 403),
        (WITH_TOKEN, "0.0.0.0", ELSEWHERE, "203.0.113.9", 401),
        (WITH_TOKEN, "0.0.0.0", {**ELSEWHERE, "authorization": f"Bearer {TOKEN}"}, "203.0.113.9", 200),
        (WITH_TOKEN, "0.0.0.0", {**ELSEWHERE, "authorization": "Bearer wrong"}, "203.0.113.9", 401),
        (WITH_TOKEN, "0.0.0.0", {**ELSEWHERE, "cookie": f"{COOKIE}={TOKEN}"}, "203.0.113.9", 401),
        (WITH_TOKEN, "0.0.0.0", {}, "127.0.0.1", 401),
        (PROXIED, "0.0.0.0", {**ELSEWHERE, "x-user": "ann"}, "10.0.0.5", 200),
        (PROXIED, "0.0.0.0", {**ELSEWHERE, "x-user": "ann", "x-forwarded-for": "1.2.3.4"}, "10.0.0.5", 200),
        (PROXIED, "0.0.0.0", {**ELSEWHERE, "x-user": " "}, "10.0.0.5", 401),
        (PROXIED, "0.0.0.0", {**ELSEWHERE, "x-user": "ann"}, "10.0.0.6", 401),
    ],
    ids=[
        "own machine", "IPv6", "localhost", "a name that leads here", "a name that begins as ours", "a user before the host",
        "no port", "passed on by a proxy", "picture of another site", "link from another site", "frame of another site",
        "form of another site", "no token", "the token", "another token", "the token as cookie", "own machine, open address",
        "the proxy", "the proxy, with what proxies add", "the proxy without a user", "somebody who says so",
    ],
)  # fmt: skip
def test_who_sees_a_page(tmp_path: Path, settings, address, headers, client, status) -> None:  # type: ignore[no-untyped-def]
    deployment = settings_in(tmp_path, dashboard=settings)
    with dashboard(deployment, address, {"DASH": TOKEN}) as browser:
        answer = browser.get("/", headers, client)
        chart = browser.get("/chart/conversions_by_day.csv", headers, client)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert chart.status_code == (503 if status == 200 else status)  # without a serving copy


def test_the_token_is_asked_for_once_and_not_kept_by_the_browser(tmp_path: Path) -> None:
    deployment = settings_in(tmp_path, dashboard=WITH_TOKEN)
    publish(deployment.serving_path, small(3))
    with dashboard(deployment, "0.0.0.0", {"DASH": TOKEN}) as browser:
        asked = browser.get("/", ELSEWHERE)
        assert asked.status_code == 401 and 'action="/login"' in asked.text
        assert browser.post("/login", b"token=wrong", ELSEWHERE).status_code == 401
        assert browser.post("/login", b"token=" + b"x" * 5000, ELSEWHERE).status_code == 413
        in_ = browser.post("/login", f"token={TOKEN}".encode(), {**ELSEWHERE, "origin": "https://dash.example"})
        cookie = in_.headers["set-cookie"]
        assert in_.status_code == 303 and in_.headers["location"] == "/"
        assert cookie.startswith("__Host-") and TOKEN not in cookie
        for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
            assert part.lower() in cookie.lower()
        assert browser.get("/", {**ELSEWHERE, "cookie": cookie.partition(";")[0]}).status_code == 200
        assert browser.post("/login", f"token={TOKEN}".encode(), {**ELSEWHERE, "origin": "null"}).status_code == 403
