"""The command line.

entry.py       which command is meant: a table of all, in the standard library alone
command.py     how a function becomes a command, and what it is handed
runs.py        run, start, watch, result          with options.py, sources.py and following.py
jobs.py        status, show, cancel, list         with telling.py
stack.py       doctor, up, down                   with checks.py
temporal.py    temporal
completion.py  completion
output.py      what goes to which stream, errors, exit codes  with streams.py: streams that are closed, full or not read
reports.py     what --json prints
screen.py      how a run looks
"""
