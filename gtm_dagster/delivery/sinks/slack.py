"""An incoming webhook of Slack: the text alone, which is all it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.delivery.posting import post_json

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify


class Slack:
    """A channel behind an incoming webhook."""

    kind = "slack"

    def send(self, note: NotificationRow, declared: Notify, environ: Mapping[str, str]) -> str | None:
        """POST the message's text."""
        return post_json(declared, environ, {"text": json.loads(note.payload)["text"]})


SINK = Slack()
