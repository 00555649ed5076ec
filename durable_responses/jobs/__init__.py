"""Agent runs seen from outside: started, read with a worker or without one, followed, cancelled."""
