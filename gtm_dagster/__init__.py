"""Go-to-market data plane: events in, sessions, attribution and guarded rollout out.

The library knows nothing of Dagster outside `orchestration/` and `definitions.py`.
"""

__version__ = "0.1.0"
