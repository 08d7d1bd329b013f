"""Realistic go-to-market traffic with planted truth: the same seed gives the same events, byte for byte.

Belongs here: persons, their visits and what they do; faults of delivery; the truth a pipeline must find again.
Does not belong here: reading the pipeline's results, the warehouse, SQL.
"""

from gtm_dagster.simulator.traffic import Traffic, simulate, write

__all__ = ["Traffic", "simulate", "write"]
