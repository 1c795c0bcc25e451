"""A comparison of two releases: its runs, their scores, the table."""
