"""One emitter per target: each walks the same description and packs the same integers."""
