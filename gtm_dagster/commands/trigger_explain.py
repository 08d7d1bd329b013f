"""`gtm trigger explain`: why a person got a message, or got none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import say_table
from gtm_dagster.commands.trigger_options import existing_state, trigger_state

if TYPE_CHECKING:
    from gtm_dagster.triggers.explained_starts import Explanation

COLUMNS = ("started", "rule", "outcome", "reason", "until")
_OUTCOMES = {"not_sent": "not sent"}


def explain(
    context: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="A user or anonymous id, or its pseudonym.")],
    rule: Annotated[
        str | None, typer.Argument(metavar="[RULE]", help="Of this rule alone.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Every start of a person, what became of it and why, and what each rule would do now. Exit 1: nothing is known of them."""
    from gtm_dagster.triggers.explained_starts import explained

    here = invocation(context)
    path = existing_state(here)
    with trigger_state(path):
        found = explained(path, (person, here.pseudonymize(person)), rule, time.time_ns() // 1000)
    if rule is not None and not found.chances:
        raise Problem(f"{rule}: there is no such rule; `gtm trigger list` names them", 2)
    if json:
        say_json(_document(found))
    else:
        _say(found)
    return 0 if found.known else 1


def _document(found: Explanation) -> dict[str, Any]:
    from gtm_dagster.triggers.outcomes import REASONS

    means = {str(reason): words for reason, words in REASONS.items()}
    return {
        "person": found.person, "known": found.known, "consents": found.consents, "timezone": found.timezone,
        "country": found.country,
        "starts": [
            {"rule": each.rule, "trigger_event_id": each.trigger_event_id, "key": each.key or None,
             "started_at": utc_time(each.started_us), "outcome": each.outcome, "reason": each.reason,
             "means": means.get(each.reason or ""), "detail": each.detail, "due_at": utc_time(each.due_us),
             "decided_at": utc_time(each.decided_us), "until": utc_time(each.next_us), "action_id": each.action_id,
             "delivery": each.delivery}
            for each in found.starts
        ],
        "rules": [
            {"rule": each.rule, "status": each.status, "would_send_now": each.reason is None, "reason": each.reason,
             "detail": each.detail, "next_at": utc_time(each.next_us), "zone": each.zone}
            for each in found.chances
        ],
    }  # fmt: skip


def _say(found: Explanation) -> None:
    from gtm_dagster.triggers.outcomes import REASONS

    means = {str(reason): words for reason, words in REASONS.items()}
    if not found.known:
        say(f"{found.person}: no rule has seen this person")
    if found.starts:
        say_table(COLUMNS, [
            [f"{utc_time(each.started_us):%m-%d %H:%M:%S}", each.rule, _OUTCOMES.get(each.outcome, each.outcome),
             each.reason or each.delivery or "-", "-" if each.next_us is None else f"{utc_time(each.next_us):%m-%d %H:%M:%S}"]
            for each in found.starts
        ])  # fmt: skip
        for reason in dict.fromkeys(each.reason for each in found.starts if each.reason):
            say_prose(f"  {reason}: {means.get(reason, reason)}")
    consents = [f"{purpose} {'yes' if given else 'no'}" for purpose, given in sorted(found.consents.items())]
    place = ", ".join(each for each in (found.timezone, found.country) if each) or "not known"
    say_prose(f"person {found.person}; consent: {', '.join(consents) or 'none'}; time zone: {place}")
    for chance in found.chances:
        zone = f" (quiet hours in {chance.zone})" if chance.zone else ""
        after = "" if chance.next_us is None else f" until {utc_time(chance.next_us):%Y-%m-%d %H:%M:%SZ}"
        say_prose(
            f"  {chance.rule}: now it would {'send' if chance.reason is None else f'not send: {chance.reason}{after}'}{zone}"
        )


COMMANDS = (Command("trigger explain", explain, order=50),)
