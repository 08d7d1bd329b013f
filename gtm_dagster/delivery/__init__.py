"""Sending messages: notifications of guards to the sinks of `[[notify]]`, messages of triggers to `[[destinations]]` and feeds.

Belongs here: when a message is sent and tried again, what each kind of receiver is sent and how it is signed, which
addresses are reached. Does not belong here: what is decided (`rollout.control`, `triggers`), and how the ops store keeps
notifications (`opsstore`).
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
