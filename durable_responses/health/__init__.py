"""Whether everything around the program is as it should be: `doctor` for people, liveness and readiness for machines.

Every check says what it found, and what to do where that is not well. Nothing here changes anything.
"""
