"""The agent run as a Temporal workflow, its rules and its contract."""
