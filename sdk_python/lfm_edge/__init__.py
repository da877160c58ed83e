"""From a bundle to tokens."""
