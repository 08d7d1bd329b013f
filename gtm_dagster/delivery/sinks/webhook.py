"""A webhook: the whole message as JSON, with its id and its episode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.delivery.posting import message_id, post_json

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow
    from gtm_dagster.settings import Notify


class Webhook:
    """Any address that takes JSON by POST."""

    kind = "webhook"

    def send(self, note: NotificationRow, declared: Notify, environ: Mapping[str, str]) -> str | None:
        """POST id, episode and the message's own fields."""
        body = {"id": message_id(note), "episode": note.episode, **json.loads(note.payload)}
        return post_json(note, declared, environ, body)


SINK = Webhook()
