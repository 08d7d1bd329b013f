"""What flag providers are built from: the protocol of a writer, calls to an HTTP API, a file that clients watch.

Belongs here: what two providers share. Does not belong here: anything one provider alone needs (it is in its file).
"""
