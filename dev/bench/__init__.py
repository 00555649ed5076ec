"""Benchmarks: `python -m dev.bench` runs all of them, `python -m dev.bench.iterations` and so on one.

No test asserts a time.
"""
