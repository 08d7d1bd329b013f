"""The statistics of a guard: counts in, frozen verdict out. Pure numpy, no I/O, no clock, no settings file.

Belongs here: what the evidence says, what follows from it, and what traffic can prove. Does not belong here: taking
counts (stream), keeping them (opsstore), or turning a flag off (control).
"""
