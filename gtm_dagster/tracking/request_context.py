"""The `context` of an event from one web request: page, referrer, locale, device type and a browser's privacy signal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gtm_dagster.privacy.consent import REFUSED_BY_GPC
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS

Headers = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*\Z")
_MOBILE = re.compile(r"Mobi|Android|iPhone|iPad|iPod", re.IGNORECASE)


def context_from_request(
    url: str | None,
    referrer: str | None = None,
    headers: Headers | None = None,
    *,
    consent: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """The `context` for `GtmTracker.track` of an event that happened on the page `url`.

    `url` is the whole address with its query: the collector reads UTM parameters and click ids from it, then drops the
    query. `referrer` is the page before; without it the header Referer is used. `headers` are those of any framework: a
    mapping or pairs, in any case, text or bytes, also a WSGI environ. `consent` is what the visitor agreed to (analytics,
    marketing, personalization: bool). Never raises on what a browser sends.

    Gives page_url, referrer and locale where the request has them, device_type (`mobile` or `web`), and consent: for a
    browser that sends `Sec-GPC: 1` marketing and personalization are refused, whatever was agreed to. Neither address
    nor user agent is taken.
    """
    sent = lower_case(headers)
    context: dict[str, Any] = {"device_type": _device_type(sent)}
    texts = {
        "page_url": url,
        "referrer": referrer or sent.get("referer"),
        "locale": _locale(sent.get("accept-language", "")),
    }
    for field, value in texts.items():
        text = acceptable(value, CONTEXT_LIMITS[field])
        if text:
            context[field] = text
    agreed = dict(consent or {})
    if sent.get("sec-gpc", "").strip() == "1":
        agreed |= REFUSED_BY_GPC
    if agreed:
        context["consent"] = agreed
    return context


def lower_case(headers: Headers | None) -> dict[str, str]:
    """The headers by lower-case name; `HTTP_SEC_GPC` of a WSGI environ is `sec-gpc`, what is no header is left out."""
    pairs = () if headers is None else headers.items() if hasattr(headers, "items") else headers
    found: dict[str, str] = {}
    for name, value in pairs:
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(name, str) and isinstance(value, str):
            known = name.lower().removeprefix("http_").replace("_", "-")
            # HTTP/2 may send every cookie in a header of its own (RFC 9113, 8.2.3)
            found[known] = f"{found[known]}; {value}" if known == "cookie" and known in found else value
    return found


def _device_type(sent: Mapping[str, str]) -> str:
    hint = sent.get("sec-ch-ua-mobile", "").strip()  # a Client Hint: ?1 or ?0
    if hint in ("?0", "?1"):
        return "mobile" if hint == "?1" else "web"
    return "mobile" if _MOBILE.search(sent.get("user-agent", "")) else "web"


def _locale(accepted: str) -> str | None:
    """The language of Accept-Language with the highest weight; the first of several."""
    best, weight = None, 0.0
    for entry in accepted[:1000].split(","):
        tag, _, parameter = entry.partition(";")
        try:
            q = float(parameter.strip().lower().removeprefix("q=")) if parameter.strip() else 1.0
        except ValueError:
            continue
        if q > weight and _LANGUAGE.match(tag.strip()):
            best, weight = tag.strip(), q
    return best


def acceptable(value: object, limit: int) -> str:
    """A text as the collector takes it: without NUL characters and halves of surrogate pairs, cut at `limit`."""
    if not isinstance(value, str):
        return ""
    return value.replace("\x00", "").encode("utf-8", "replace").decode()[:limit].strip()
