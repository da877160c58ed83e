"""Trains the small `lfm2_moe` checkpoint that ships with the package as its demo model."""
