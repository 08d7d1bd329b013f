"""Drills: break a throw-away deployment on purpose, with real processes, and look whether every promise was kept.

Here belongs what kills, fills and crowds. Not here: what the pipeline does about it. Nothing of the deployment is
touched: a drill makes its own state directory and settings, and ends only processes it started.
"""
