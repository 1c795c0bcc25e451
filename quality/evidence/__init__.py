"""What an image says of itself: its metadata segments, read in one pass over the original bytes."""
