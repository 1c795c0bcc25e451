"""Beam's runners beyond the in-process one: an engine on this machine where the user names none, and their own where they do."""
