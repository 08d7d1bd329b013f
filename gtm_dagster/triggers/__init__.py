"""Behavioural rules: which message a person is due, when, and why somebody gets none.

Belongs here: the form of `triggers.yaml` and its lint, the two pure functions `step` (one rule, one person) and `admit`
(all rules, one person), the engine that feeds them in the order of the log's clock, its runners (in memory, and live over
`triggers.db`), and the backtest over landed events.
Does not belong here: sending (delivery), and what an event may say (taxonomy).
"""
