"""CTC log-probabilities -> token ids. Knows token ids, not text files."""
