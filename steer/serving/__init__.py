"""Many requests in one running batch, each with edits, prompt and noise of its own."""
