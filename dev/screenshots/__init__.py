"""`make screenshots`: agent runs on an embedded stack of its own, and Temporal's Web UI of them in pictures."""
