"""Chaos: experiments that kill, crowd and fill a throw-away deployment and check every promise (`gtm doctor --drill`).

Here belongs what breaks a deployment on purpose. Not here: how the pipeline recovers. The user's own deployment is not
touched, and only processes started here are signalled.
"""
