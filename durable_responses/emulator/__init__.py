"""A Responses API server without a model: scripted answers, real lifecycles, scripted faults, and a bill.

Run it with `durable-responses emulator`. A separate program: it shares the objects of the API with us and nothing else.
"""
