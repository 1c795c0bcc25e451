"""Trains the heads and the Korean word pieces of the embedded CLIP model on the openly licensed corpus, and measures the result."""
