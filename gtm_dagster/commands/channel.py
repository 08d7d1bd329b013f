"""`gtm channel`: what channel an event would have, and the rule and the list that decide it."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table


def explain(
    context: typer.Context,
    source: Annotated[str | None, typer.Option(help="utm_source.")] = None,
    medium: Annotated[str | None, typer.Option(help="utm_medium.")] = None,
    campaign: Annotated[str | None, typer.Option(help="utm_campaign.")] = None,
    referrer: Annotated[str | None, typer.Option(help="The referring page.")] = None,
    page: Annotated[str | None, typer.Option(help="The page; its UTM parameters and click ids count.")] = None,
    click_id: Annotated[str | None, typer.Option(help="gclid=..., or a bare value of a known shape.")] = None,
    format: ReportFormat = None,
    json: Json = False,
) -> None:
    """Channel, source and medium of an event that says this, with the rule that fired and the list that decided."""
    from gtm_dagster.channels import classify, host_of
    from gtm_dagster.channels.deciding_list import deciding_list
    from gtm_dagster.taxonomy.touch import Touch, normal_touch

    sent = Touch(source, medium, campaign, None, None, click_id, page, referrer)
    if not any(sent):
        raise Problem("name something: --source, --medium, --campaign, --referrer, --page or --click-id", 2)
    named = normal_touch(sent, host_of)
    touch = classify(
        named.source,
        named.medium,
        named.campaign,
        named.referrer,
        named.click_id,
        named.page_url,
        invocation(context).settings.own_hosts,
    )
    found = deciding_list(touch, named.referrer)
    document = {
        "channel": touch.channel,
        "source": touch.source,
        "medium": touch.medium,
        "campaign": touch.campaign,
        "rule": touch.rule,
        "category": found.category,
        "list": found.name,
        "licence": found.licence,
    }
    form = form_of(format, json, piped=Form.TABLE)
    if form is Form.JSON:
        say_json(document)
        return
    if form is not Form.TABLE:
        say_table(*flat([document]), form)
        return
    for name, value in document.items():
        say(f"{name + ':':<10} {value if value is not None else '-'}")


COMMANDS = (
    Group("channel", "What brought a visit, and why.", order=105),
    Command("channel explain", explain, order=10),
)
