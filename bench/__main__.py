"""All benchmarks, one after the other."""

from bench import actions, history, knowing, mcp, recovery, saturation, tracing, turns, waits, websocket
from bench.command import run

if __name__ == "__main__":
    run(
        turns.measure,
        waits.measure,
        knowing.measure,
        recovery.measure,
        saturation.measure,
        history.measure,
        mcp.measure,
        websocket.measure,
        tracing.measure,
        actions.measure,
    )
