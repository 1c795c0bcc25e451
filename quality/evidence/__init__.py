"""Evidence: what stored bytes and pixels say about where an image came from."""
