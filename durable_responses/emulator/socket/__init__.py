"""The API over a WebSocket: lanes, turns and steering."""
