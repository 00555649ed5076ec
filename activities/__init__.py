"""What a workflow may ask of the world, as Temporal activities. Imported as `durable_responses.activities` only."""

if __name__ != "durable_responses.activities":
    raise ImportError(
        "Import durable_responses.activities: under the name `activities` every class would be loaded twice."
    )
