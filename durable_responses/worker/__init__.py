"""The worker: which queue is served by what, with how many slots.

`program` is the program, whose `arguments` are read without it, `serving` runs a worker from its start to its
shutdown, `queues` has a function for each queue, `dependencies` is what they are made of, `offered_tools` the tools
that the model may call.
"""
