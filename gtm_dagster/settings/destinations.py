"""Where messages of triggers go, and the feed inside the product that shows them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gtm_dagster.settings.values import Count, NotNegative

DestinationKind = Literal["webhook", "slack", "email"]
DestinationName = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}\Z", description="a name of at most 64 small letters, digits, _ and -, a letter first"),
]  # fmt: skip
Rate = Annotated[float, Meta(gt=0, le=10_000)]
_SENDER = re.compile(r"[^\r\n<>@]*<[^\s<>@]+@[^\s<>@]+>\Z|[^\s<>@]+@[^\s<>@]+\Z")


class Destination(Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of trigger messages: a webhook, an incoming webhook of Slack, or a mail server.

    `url`: http(s)://, of a mail server smtps://USER:PASSWORD@HOST or smtp://... (STARTTLS); `url_env`: the variable that
    holds it. `secret_env`: the variable of the signing secrets (whsec_..., two while one replaces the other). `allow`:
    networks it may reach beyond the public internet, such as 10.0.0.0/8. `per_second`: None is 10, of Slack 1. `in_flight`:
    the most requests at once. `timeout_seconds`: of one attempt, from the look-up of the name to the end of the answer.
    `collapse_seconds`: alerts of one rule that come so close are one message (Slack). `sender` and `contact_url` (e-mail):
    From, and where the product says a person's address. `repeat`: whether a message is sent again when nobody can say
    whether it arrived; None is at_least_once, of e-mail at_most_once.
    """

    name: DestinationName
    kind: DestinationKind = "webhook"
    url: str | None = None
    url_env: str | None = None
    secret_env: str | None = None
    allow: tuple[str, ...] = ()
    per_second: Rate | None = None
    in_flight: Annotated[int, Meta(ge=1, le=64)] = 4
    timeout_seconds: Annotated[float, Meta(ge=1, le=60)] = 15.0
    collapse_seconds: NotNegative = 60.0
    sender: str | None = None
    contact_url: str | None = None
    repeat: Literal["at_least_once", "at_most_once"] | None = None

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.per_second or (1.0 if self.kind == "slack" else 10.0)

    @property
    def at_most_once(self) -> bool:
        """Whether a message that may have arrived is not sent again."""
        return (self.repeat or ("at_most_once" if self.kind == "email" else "at_least_once")) == "at_most_once"

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`allow` as networks."""
        return tuple(ipaddress.ip_network(text) for text in self.allow)


class Feed(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages inside the product, which the collector serves. `key_env`: the variable of the key of persons' tokens.

    Without a variable it is the file feed.key in the state directory's keys. `days` an item is shown.
    """

    key_env: str | None = None
    days: Count = 30


def destination_problems(destination: Destination) -> Iterator[tuple[str, str]]:
    """What keeps a destination from being used: the setting of it, and the problem with the way out."""
    if not destination.url and not destination.url_env:
        yield "url", "is missing; give url, or url_env, the variable that holds it"
    for index, text in enumerate(destination.allow):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            yield f"allow[{index}]", f"{text!r} is not a network; give one such as 10.0.0.0/8 or fd00::/8"
    if destination.kind == "email":
        if not destination.sender or not _SENDER.match(destination.sender):
            yield "sender", "is missing or no address; give one such as Acme <hello@acme.example>"
        if not destination.contact_url:
            yield "contact_url", "is missing; give the address where your product says a person's e-mail address"
        if not destination.secret_env:
            yield "secret_env", "is missing; name the variable of the secret that signs requests to contact_url"
    elif destination.kind == "slack" and destination.secret_env:
        yield "secret_env", "is of webhook and email; Slack checks no signature"
    elif destination.sender or destination.contact_url:
        yield "sender" if destination.sender else "contact_url", f"is of e-mail alone; {destination.name} is a {destination.kind}"  # fmt: skip
