"""What is done with a guard: arm it, evaluate it, roll its flag back, prove it, replay it, and try it on past events.

Here belongs every change of a guard's state and of a flag. Not here: statistics (`guard`) and provider APIs (`providers`).
"""
