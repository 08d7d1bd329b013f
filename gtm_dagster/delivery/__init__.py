"""Sending messages: the outbox of the ops store is emptied into the sinks that `[[notify]]` declares.

Belongs here: when a message is sent and tried again, and what each kind of sink is sent. Does not belong here: what a
message says (its author writes that, e.g. `rollout.control.messages`), and how it is stored (opsstore).
"""

from gtm_dagster.delivery.outbox import (
    Deliverer,
    Delivery,
    deliver_due,
    given_up,
    given_up_lines,
    lately,
    not_delivered,
    undelivered_line,
)

__all__ = [
    "Deliverer",
    "Delivery",
    "deliver_due",
    "given_up",
    "given_up_lines",
    "lately",
    "not_delivered",
    "undelivered_line",
]
