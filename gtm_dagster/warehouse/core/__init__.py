"""Staging -> core: identities, sessions, conversions, touchpoints, each built for the affected ranges alone."""
