"""`gtm doctor --drill`: kills, crowds and fills a throw-away deployment, and looks whether every promise was kept.

Here belongs what breaks things on purpose. Not here: what the pipeline does about it. Nothing of the deployment is
touched, and only processes started here are signalled.
"""
