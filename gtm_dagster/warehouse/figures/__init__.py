"""What pictures show: frozen figures, and the queries that fill them from core and marts.

Belongs here: which rows, types, currencies, models and periods a picture holds, and its title. Does not belong here: how it
is drawn (reports/drawing), how a credit is computed (marts), dagster.
"""
