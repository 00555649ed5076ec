"""Checks of everything around the program: `doctor` for people, liveness and readiness for machines.

Each check says what it found, and what to do about it. Checks change nothing.
"""
