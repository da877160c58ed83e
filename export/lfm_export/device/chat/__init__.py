"""A checkpoint's chat template as data: what it does, found out by asking it."""
