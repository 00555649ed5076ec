"""The agent run as a Temporal workflow, its rules and its contract. Imported as `durable_responses.workflows` only."""

if __name__ != "durable_responses.workflows":
    raise ImportError(
        "Import durable_responses.workflows: under the name `workflows` every class would be loaded twice."
    )
