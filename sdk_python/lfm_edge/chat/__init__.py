"""Chat: from messages to the prompt that a model was trained on."""
