"""Landing -> staging: landed files judged, deduplicated and written in one transaction, with their books.

Here belongs what decides whether a landed row is an event. Not here: what follows from events (core, marts).
"""
