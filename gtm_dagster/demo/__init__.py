"""`gtm demo`: planted traffic through the whole pipeline, a report beside the truth, and the drill of the guard (canary.py).

Here belongs what shows the product at work. Not here: the pipeline itself (what runs it is an argument), and what breaks
a deployment (chaos).
"""
