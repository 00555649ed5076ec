"""A worker that gives its work half a second when it is told to stop: `python -m tests.support.impatient_worker`.

So that a test of what is cut off by a deploy need not wait for the real half minute.
"""

from datetime import timedelta

from durable_responses.worker.__main__ import main
from durable_responses.worker.dependencies import ShutdownTimeouts

if __name__ == "__main__":
    main(shutdown=ShutdownTimeouts(creates=timedelta(seconds=0.5), tools=timedelta(seconds=0.5)))
