"""A server that speaks as OpenAI's and Anthropic's do: `app.create_app`."""
