"""What must happen to personal data before the first write: pseudonyms, scrubbing, masking, sealing.

`pseudonyms` is light enough for the SDK; `sealing` needs `cryptography` and is imported on its own.
"""
