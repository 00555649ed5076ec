"""The worker: which queue is served by what, with how many slots."""
