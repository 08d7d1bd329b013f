"""`gtm demo`: planted traffic through the whole pipeline, a report beside the truth, and the canary of the guard.

Here belongs what shows the product at work. Not here: the pipeline itself; what runs it is handed in.
"""
