"""A worker that gives its work half a second when it is told to stop: `python -m tests.support.impatient_worker`.

So that a test of what is cut off by a deploy need not wait for the real half minute.
"""

from datetime import timedelta

from durable_responses.worker.arguments import queues_of
from durable_responses.worker.dependencies import ShutdownTimeouts
from durable_responses.worker.program import serve

if __name__ == "__main__":
    half_a_second = timedelta(seconds=0.5)
    serve(queues_of(None), ShutdownTimeouts(creates=half_a_second, tools=half_a_second))
