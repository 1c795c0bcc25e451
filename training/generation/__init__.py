"""Prompts to pictures: drawing, ranking, up-scaling, and what is written beside and into the files."""
