"""Review: people judge pairs, and what they decided flows back into the data. In and out are the tables of schemas.reviews."""
