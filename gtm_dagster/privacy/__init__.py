"""What happens to personal data before the first write: pseudonyms, scrubbing, masking, sealing.

Belongs here: functions from values to values, and the key file. Does not belong here: where the results are stored.
`pseudonyms` is light enough for the SDK; `sealing` needs `cryptography` and is imported on its own.
"""
