"""`marts.trigger_decisions` and `marts.trigger_effects`."""

from __future__ import annotations

from gtm_dagster.warehouse.figures.messages_by_rule import message_trends, messages_by_rule
from gtm_dagster.warehouse.marts.trigger_decisions import build_trigger_decisions
from gtm_dagster.warehouse.marts.trigger_effects import build_trigger_effects
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of

_RULE = "Name of the rule in the file of triggers"
_DECISIONS = (
    Column("rule", "VARCHAR", _RULE, local=True),
    Column("trigger_event_id", "VARCHAR", "The event that started it", local=True),
    Column("person", "VARCHAR", "Pseudonym of the user, else of the browser or device, as the rule knew it", local=True),
    Column("outcome", "VARCHAR", "sent: a message was decided; not_sent: none, for `reason`", local=True),
    Column("reason", "VARCHAR", "Why nothing was sent, such as cancelled, capped, no_consent or holdout", local=True),
    Column("action_id", "VARCHAR", "Identity of the message, the same however often it is sent", local=True),
    Column("channel", "VARCHAR", "email, webhook, slack or in_app", local=True),
    Column("target", "VARCHAR", "The destination or template that the rule names", local=True),
    Column("delivery", "VARCHAR", "due, delivered, dead (given up), suppressed or expired; NULL of not_sent", local=True),
    Column("attempts", "BIGINT", "How often it was tried to be delivered", local=True),
    Column("last_error", "VARCHAR", "Why the last attempt failed", local=True),
    Column("started_at", "TIMESTAMP", "The starting event's own time, UTC", local=True),
    Column("due_at", "TIMESTAMP", "When its condition became true, UTC", local=True),
    Column("received_at", "TIMESTAMP", "Receipt of the event that decided it, UTC; NULL where a timer did", local=True),
    Column("decided_at", "TIMESTAMP", "When it was decided by the log's clock, UTC", local=True),
    Column("decided_wall_at", "TIMESTAMP", "The same by the clock of the machine, UTC", local=True),
    Column("delivered_at", "TIMESTAMP", "When the receiver had taken it, UTC; NULL when it has not", local=True),
    Column("decision_seconds", "DOUBLE", "Seconds from the later of receipt and due time to the decision", local=True),
    Column("delivery_seconds", "DOUBLE", "Seconds from there to the delivery; NULL when not delivered", local=True),
)  # fmt: skip
TABLES = (
    Table(
        name="marts.trigger_decisions",
        meaning=(
            "Every start of a behavioural rule that was decided: the message and its delivery, or why there was none. As "
            "`triggers.db` has it, for 400 days."
        ),
        columns=_DECISIONS,
        step=build_trigger_decisions,
        charts=(messages_by_rule,),
        trends=message_trends,
        checks=(
            Check(
                "no_dead_letters",
                "No message of the last 7 days was given up.",
                none_of(
                    "SELECT count(*) FROM marts.trigger_decisions WHERE delivery = 'dead' AND decided_wall_at > now()::TIMESTAMP - INTERVAL 7 DAY",
                    "messages were given up; `gtm trigger deadletters` lists them",
                ),
                blocking=False,
                severity="WARN",
            ),
            Check(
                "one_message_a_start",
                "No start has two messages, and no message two starts.",
                none_of(
                    "SELECT count(*) FROM (SELECT action_id FROM marts.trigger_decisions WHERE action_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1)",
                    "messages stand twice",
                ),
                blocking=False,
            ),
        ),
    ),
    Table(
        name="marts.trigger_effects",
        meaning=(
            "What a rule's messages bring about: of persons that a message was decided for, and of those in the holdout, the "
            "share that reached the goal in its time. Persons whose time is not over are left out."
        ),
        columns=(
            Column("rule", "VARCHAR", _RULE, local=True),
            Column("goal", "VARCHAR", "Event that counts as success: `goal` of the rule, else what it waits for", local=True),
            Column("goal_hours", "DOUBLE", "Hours from the decision in which it counts", local=True),
            Column("arm", "VARCHAR", "message (sent, or capped: the holdout knows no cap) or holdout", local=True),
            Column("persons", "BIGINT", "Distinct persons, each at the first decision", local=True),
            Column("converted", "BIGINT", "Of them, those with the goal in time", local=True),
            Column("rate", "DOUBLE", "`converted` / `persons`, share of 1; NULL without persons", local=True),
            Column("low", "DOUBLE", "Lower end of the rate, 95 % (Wilson)", local=True),
            Column("high", "DOUBLE", "Upper end of the rate, 95 %", local=True),
            Column("effect", "DOUBLE", "Of the arm message: its rate minus that of the holdout; NULL without both", local=True),
            Column("effect_low", "DOUBLE", "Lower end of the effect, 95 % (Newcombe); above 0: it is proven to help", local=True),
            Column("effect_high", "DOUBLE", "Upper end of the effect, 95 %; below 0: it is proven to harm", local=True),
            Column("persons_open", "BIGINT", "Persons whose time is not over, in no other figure", local=True),
        ),
        reads=("marts.trigger_decisions", "staging.events", "core.identities"),
        step=build_trigger_effects,
        built_with="marts.trigger_decisions",
    ),
)  # fmt: skip
