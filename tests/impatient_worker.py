"""A worker that gives its work half a second when it is told to stop: `python -m tests.impatient_worker`.

So that a test of what is cut off by a deploy need not wait for the real half minute.
"""

from datetime import timedelta

import worker

if __name__ == "__main__":
    worker.LET_CREATES_END = worker.LET_TOOLS_END = timedelta(seconds=0.5)
    worker.main()
