"""Chat: the checkpoint's own template."""
