"""Other captions for a pool's pairs, from a file or by a model."""
