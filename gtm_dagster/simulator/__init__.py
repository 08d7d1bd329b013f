"""Realistic go-to-market traffic with planted truth: the same seed gives the same events, byte for byte.

Belongs here: simulated persons, visits and events, faults of delivery, the true figures that a pipeline has to find.
Does not belong here: a pipeline's results, the warehouse, SQL.
"""

from gtm_dagster.simulator.traffic import Traffic, simulate, write

__all__ = ["Traffic", "simulate", "write"]
