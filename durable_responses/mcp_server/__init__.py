"""The MCP server: tools that start, poll and cancel agent runs. A job is a workflow; the server stores nothing.

`arguments` and `inputs` define what a client may ask, `answers`, `next_steps` and `wording` what it reads,
`undecodable` what is refused before that; all six are plain rules.
`backend` finds Temporal or starts the embedded stack, `following` waits for a job. `tools`, `resources` and `tasks` are
the three ways to a job that MCP offers, `server` puts them together, `transports` serves them. `door` comes before
all of this: over stdio it gives the `first_answers`, from a `snapshot`, while the rest is loaded.
"""
