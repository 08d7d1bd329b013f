"""What is done with a guard: arm it, evaluate it, roll its flag back, prove it, replay it, and try it on past events.

Belongs here: every change of a guard's state and of a flag, and the messages about it. Does not belong here:
statistics (`guard`), the APIs of providers (`providers`), and sending (`delivery`, which this package never imports).
"""
