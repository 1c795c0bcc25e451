"""Near-duplicates: the compiled search and its shuffled form. Use :mod:`quality.near_duplicates`."""
