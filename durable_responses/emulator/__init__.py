"""A Responses API server without a model: scripted answers, real lifecycles, injected faults, and a bill.

Run it with `durable-responses emulator`. A separate program: it shares the objects of the API with us and nothing else.
Every wing imports only from those below it (checked by import-linter); `server.py` puts them together.

    socket/    the API over a WebSocket: lanes, turns, steering (an upgrade is an HTTP request until it is accepted)
    http/      the API over HTTP and server-sent events, and the control endpoints
    provider   what both of them call; the faults that they meet are in `faults`
    state/     responses and their lifecycles, the bill, the state file, the clock
    model/     scenarios, and what a script sends and when; below it `objects/`: bodies, errors, JSON values
"""
