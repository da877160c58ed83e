"""What a GGUF file calls things: what reading one and writing one share."""
