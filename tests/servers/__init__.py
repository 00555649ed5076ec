"""Servers of others, for the slow lane `tests/servers_lane.py`, and what they are told to answer."""
