"""One method per file: float rows in, integers and scales out."""
