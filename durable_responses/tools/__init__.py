"""Function tools that the model may call: the user's extension point."""
