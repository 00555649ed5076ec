"""Agent runs seen from outside: start, read (with a worker or without one), follow, cancel."""
