"""Looks through all that a dataset has stored for what was removed from it: decoded from every form, and known by digests alone."""
