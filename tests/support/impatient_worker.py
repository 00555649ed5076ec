"""A worker that gives its work half a second when it is told to stop: `python -m tests.support.impatient_worker`.

So that a test of what is cut off by a deploy need not wait for the real half minute.
"""

from datetime import timedelta

from durable_responses.worker import program

if __name__ == "__main__":
    program.LET_CREATES_END = program.LET_TOOLS_END = timedelta(seconds=0.5)
    program.main()
