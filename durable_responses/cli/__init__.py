"""The parts of the command line, put together by `starter.py`: options, how a run looks, how it is followed."""
