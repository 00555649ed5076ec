"""Tools from MCP servers: which servers, under which names, with which schemas and effects; and their sessions.

`configuration`, `names`, `schemas`, `effects` and `results` are rules without I/O. `sessions` holds what is open.
"""
