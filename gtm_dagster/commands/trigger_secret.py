"""`gtm trigger secret`: a signing secret for a destination."""

from __future__ import annotations

import base64
import secrets

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import say

SECRET_BYTES = 32


def secret() -> None:
    """Print a new signing secret (Standard Webhooks). It is kept nowhere: put it into the variable of `secret_env`."""
    from gtm_dagster.delivery.signatures import PREFIX

    say(PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())


COMMANDS = (Command("trigger secret", secret, order=70),)
