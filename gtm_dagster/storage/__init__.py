"""What every store asks of a disk: one holder at a time, files that are whole or absent, room, and migrations.

Here belongs what knows files and databases alone. Not here: what any of them holds.
"""
