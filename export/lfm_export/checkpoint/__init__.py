"""Lazy readers: tensors come from disk, the Hub or a seed, a few rows at a time."""
