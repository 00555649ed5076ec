"""All benchmarks, one after the other."""

from dev.bench import (
    actions,
    budgets,
    history,
    iterations,
    knowing,
    mcp,
    pauses,
    recovery,
    saturation,
    server_tools,
    tracing,
    waits,
    websocket,
)
from dev.bench.command import run

if __name__ == "__main__":
    run(
        iterations.measure,
        waits.measure,
        knowing.measure,
        recovery.measure,
        saturation.measure,
        history.measure,
        mcp.measure,
        websocket.measure,
        tracing.measure,
        actions.measure,
        pauses.measure,
        server_tools.measure,
        budgets.measure,
    )
