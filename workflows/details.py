"""What Temporal's Web UI shows of a run, as Markdown (its tab "User Metadata")."""

from workflows.contract import AgentState, CallStatus

_LAST_LINES = 5
_LONGEST_LINE = 200


def details_of(state: AgentState) -> str:
    """A short panel: status, iteration, tokens, the calls under way, the last lines of the text, how to cancel."""
    lines = [
        f"**{state.status}**, iteration {state.iteration} of {state.max_iterations}",
        f"{state.usage.total_tokens:,} tokens ({state.usage.reasoning_tokens:,} of them reasoning)",
    ]
    if state.response_id:
        lines.append(f"response `{state.response_id}`: {state.response_status}")
    running = [call.name for call in state.function_calls if call.status is CallStatus.RUNNING]
    if running:
        lines.append("running: " + ", ".join(f"`{name}`" for name in running))
    if state.cancel_requested and not state.status.is_final:
        lines.append("cancel requested")
    if state.error:
        lines.append(f"error: {state.error.message}")
    if not state.status.is_final:
        lines.append("cancel it with the signal `cancel`, or with *Request Cancellation*")
    text = "\n".join(line[-_LONGEST_LINE:] for line in state.preview.strip().splitlines()[-_LAST_LINES:])
    return "\n\n".join([*lines, f"```\n{text}\n```"] if text else lines)
