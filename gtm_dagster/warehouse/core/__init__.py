"""Staging -> core: identities, sessions, conversions, touchpoints.

Each step builds the affected ranges alone. Not here: the statements (`sql/core`, `sql/build`) and what the columns mean
(`schema`).
"""
