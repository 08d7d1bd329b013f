"""`gtm trigger feed-token`: a person's token, to try the feed with."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Problem, invocation, say


def feed_token(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="The user id as your product has it.")],
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="How long it is good.")] = 3600,
) -> None:
    """Print the token of a user's feed. Your product's backend makes them with gtm_dagster.tracking.feed_token."""
    from gtm_dagster.delivery.feed_key import FeedKeyError, feed_key
    from gtm_dagster.tracking.feed_token import feed_token as token_for

    try:
        key = feed_key(invocation(context).settings, os.environ)
    except FeedKeyError as error:
        raise Problem(str(error)) from None
    say(token_for(key, user, seconds))


COMMANDS = (Command("trigger feed-token", feed_token, order=75),)
