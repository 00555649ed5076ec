"""The one ancestor of the exceptions that programs of ours and of users meet."""


class DurableResponsesError(Exception):
    """Something that can be expected to go wrong. The message is one sentence for the user."""
