"""The parts of the stack: how each is started, and the lock that allows only one of each."""

from pathlib import Path

# Measured: with the dev server's own settings each activity waits 50 ms and each timer up to 1 s for nothing.
_DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=200",
    "system.enableActivityEagerExecution=true",
    'history.timerProcessorMaxTimeShift="50ms"',
)
# A killed server loses nothing with these, and does twice as many turns a second.
_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")


def temporal_command(cli: Path, database: Path, *, port: int, ui_port: int, namespace: str = "default") -> list[str]:
    """The command that serves Temporal on 127.0.0.1 from a database file, with its Web UI."""
    command = [str(cli), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
    command += ["--db-filename", str(database), "--log-level", "warn", "--color", "never"]
    if namespace != "default":
        command += ["--namespace", namespace]
    for value in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    for pragma in _SQLITE_PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    return command
