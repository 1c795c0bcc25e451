"""What the data is: columns, words, storage layout. Imports nothing of ours and no Beam."""
