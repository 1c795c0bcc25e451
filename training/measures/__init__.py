"""What is said of generated pictures: how near to real ones, to their prompts, and to what was trained on. Numpy alone."""
