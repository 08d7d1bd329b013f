"""The guard's judgement: counts in, frozen verdict out. Pure numpy, no I/O, no clock, no settings file.

Here belongs what the evidence says and what follows from it. Not here: taking counts or turning a flag off.
"""
