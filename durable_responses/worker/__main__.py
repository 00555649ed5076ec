"""`python -m durable_responses.worker`: one worker, configured by the environment."""

from durable_responses.worker.program import main

if __name__ == "__main__":
    main()
