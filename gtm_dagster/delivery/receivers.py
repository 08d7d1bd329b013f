"""The declared destinations, ready to send: which of them a message goes to, its address, its secrets, its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gtm_dagster.delivery.attempt import Attempt, Leased
from gtm_dagster.delivery.email_message import EmailSender
from gtm_dagster.delivery.http_exchange import Route
from gtm_dagster.delivery.kept_connections import KeptConnections
from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.signatures import SecretError, signing_keys
from gtm_dagster.delivery.slack_message import SlackSender
from gtm_dagster.delivery.target_address import Resolver, system_resolver
from gtm_dagster.delivery.webhook_message import WebhookSender
from gtm_dagster.settings.destinations import Destination
from gtm_dagster.settings.nearest import known_names

IN_APP = "in_app"
NOWHERE = "(none)"


class Sender(Protocol):
    """Sends messages of one kind: several are one message where the kind collapses them."""

    def send(self, messages: Sequence[Leased], at_us: int) -> Attempt:
        """One attempt at `at_us`. Never raises for what a receiver does."""
        ...


class NoReceiver(LookupError):
    """A message has no destination as things stand; the message says which setting is missing."""


def destination_of(destinations: Sequence[Destination], channel: str, target: str) -> tuple[Destination, str]:
    """The destination of a rule's `do`, and the template (of a webhook ""). Raises NoReceiver.

    A webhook is named; of e-mail and Slack the template is, and where there are several destinations TEMPLATE@DESTINATION.
    """
    of_kind = [each for each in destinations if each.kind == channel]
    template, at, name = target.partition("@")
    if channel == "webhook":
        template, name = "", target
    elif not at:
        if len(of_kind) == 1:
            return of_kind[0], template
        if of_kind:
            raise NoReceiver(
                f"{target}: there are {len(of_kind)} destinations of kind {channel}; name one, as {target}@{of_kind[0].name}"
            )
        raise NoReceiver(f"there is no destination of kind {channel}; declare one under [[destinations]]")
    found = next((each for each in of_kind if each.name == name), None)
    if found is None:
        known = known_names(name, [each.name for each in of_kind])
        raise NoReceiver(f"{name!r} is not a destination of kind {channel}; {known}; declare it under [[destinations]]")
    return found, template


def name_of(destinations: Sequence[Destination], channel: str, target: str) -> str:
    """The name of a message's destination, in_app for the feed, NOWHERE for one that is not declared."""
    if channel == IN_APP:
        return IN_APP
    try:
        return destination_of(destinations, channel, target)[0].name
    except NoReceiver:
        return NOWHERE


@dataclass(frozen=True)
class Access:
    """What opens a destination. `fault`: the variable that is missing or wrong; then nothing is sent."""

    url: str = ""
    keys: tuple[bytes, ...] = ()
    fault: str | None = None


def access_to(destination: Destination, environ: Mapping[str, str]) -> Access:
    """Address and signing keys of a destination, from gtm.toml and the variables it names."""
    url = destination.url or environ.get(destination.url_env or "") or ""
    if not url:
        return Access(fault=f"no address: set {destination.url_env}")
    secret = environ.get(destination.secret_env) if destination.secret_env else None
    if destination.secret_env and not secret:
        return Access(fault=f"no secret to sign with: set {destination.secret_env}")
    try:
        return Access(url, signing_keys(secret))
    except SecretError as error:
        return Access(fault=f"{destination.secret_env}: {error}")


def sender_for(
    destination: Destination,
    environ: Mapping[str, str],
    templates: MessageTemplates,
    resolver: Resolver = system_resolver,
    kept: KeptConnections | None = None,
) -> Sender:
    """What sends to a destination; over connections that are `kept`, unless a message may not be sent twice."""
    access = access_to(destination, environ)
    if access.fault:
        return _Faulty(access.fault)
    kept = None if destination.at_most_once else kept
    route = Route(destination.networks, destination.timeout_seconds, resolver=resolver, kept=kept)
    if destination.kind == "webhook":
        return WebhookSender(access.url, access.keys, route)
    if destination.kind == "slack":
        return SlackSender(access.url, route, templates)
    return EmailSender(destination, access.url, access.keys, route, templates)


@dataclass(frozen=True)
class _Faulty:
    """A destination that cannot be used as it is set up."""

    fault: str

    def send(self, messages: Sequence[Leased], at_us: int) -> Attempt:
        return Attempt("failed", error=self.fault)
