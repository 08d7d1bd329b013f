"""Where a person is written to: asked of the product when the message is sent, and kept nowhere.

`GET contact_url?person=PSEUDONYM`, signed as Standard Webhooks has it, the signed body being the query as it was sent. The
product answers 200 with `{"email": "ann@example.com"}`, or 404 or `{"email": null}` for a person it does not write to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import msgspec

from gtm_dagster.delivery.attempt import Attempt, Leased, by_http
from gtm_dagster.delivery.http_exchange import Outcome, Route, exchange
from gtm_dagster.delivery.signatures import signed_headers

NO_ADDRESS = "no_address"
"""Why a message is suppressed whose person has no address."""
_ADDRESS = re.compile(r"[!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")


@dataclass(frozen=True)
class ContactLookup:
    """The product's endpoint."""

    url: str
    keys: tuple[bytes, ...]
    route: Route

    def address(self, message: Leased, at_us: int) -> str | Attempt:
        """The person's address, or the attempt that ends here: without an address, or to be tried again."""
        query = urlencode({"person": message.person})
        joint = "&" if urlsplit(self.url).query else "?"
        signed = urlsplit(f"{self.url}{joint}{query}").query.encode()
        headers = signed_headers(self.keys, message.action_id, at_us // 1_000_000, signed)
        answer = exchange(f"{self.url}{joint}{query}", "GET", b"", headers, self.route)
        if answer.status == 404:
            return Attempt("failed", 404, suppressed=NO_ADDRESS, seconds=answer.seconds)
        if answer.outcome != "delivered":
            failed = by_http(answer)
            outcome: Outcome = "refused" if answer.outcome == "refused" else "failed"  # nothing was sent to the person
            return Attempt(outcome, failed.code, f"contact_url {failed.error}", failed.seconds, failed.wait_seconds, failed.throttled)  # fmt: skip
        try:
            found = msgspec.json.decode(answer.body)
            address = found["email"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            return Attempt("failed", answer.status, 'contact_url answered something else than {"email": ...}')
        if address is None:
            return Attempt("failed", answer.status, suppressed=NO_ADDRESS, seconds=answer.seconds)
        if not isinstance(address, str) or len(address) > 254 or not _ADDRESS.match(address):
            return Attempt(
                "failed", answer.status, "contact_url answered with no e-mail address", final=True, blamed=False
            )
        return address
