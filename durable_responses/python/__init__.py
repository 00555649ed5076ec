"""Runs from a Python program: `run`, `start`, `attach` and `run_sync`, which `durable_responses` exports.

`api` has the functions, `job` what they return, `options` what they take, `outcomes` how runs end, `events` what is
told meanwhile, `functions` and `serving` the functions of the program that the model may call, `connecting` the stack,
`background` the thread that all of it happens in.
"""
