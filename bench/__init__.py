"""Benchmarks: `python -m bench` runs all of them, `python -m bench.turns` and so on one. No test asserts a time."""
