"""An incoming webhook of Slack: the text alone, which is all it takes, with the message's id at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.delivery.posting import message_id, post_json

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify


class Slack:
    """A channel behind an incoming webhook."""

    kind = "slack"

    def send(self, note: NotificationRow, declared: Notify, environ: Mapping[str, str]) -> str | None:
        """POST the message's text and id."""
        text = json.loads(note.payload)["text"]
        return post_json(note, declared, environ, {"text": f"{text}\n(message {message_id(note)})"})


SINK = Slack()
