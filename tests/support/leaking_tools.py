"""Tools that handle secrets, well and badly, for workers under test."""

from durable_responses.tools.registry import Effect, tool

OF_A_TOOL = "canary-tool-7f3a9c"


@tool(effect=Effect.PURE)
def vault() -> str:
    """What nobody but the model may see."""
    return f"The password is {OF_A_TOOL}."


@tool(effect=Effect.PURE)
def explode(gate: str) -> str:
    """Fail, quoting a key."""
    raise RuntimeError(f"{gate}: no access with sk-canary-0123456789abcdef0123456789")
