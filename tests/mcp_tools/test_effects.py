"""What is made of what a server says of its tools, and of what the configuration says."""

import pytest

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.effects import Hints, Treatment, stricter, treatment_of
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import Effect

PURE, IDEMPOTENT, ONCE = Effect.PURE, Effect.IDEMPOTENT, Effect.ONCE
ALLOW, ASK, DENY = Action.ALLOW, Action.ASK, Action.DENY
TRUSTED, STRANGER = {"trust": "annotations"}, {"trust": "none"}
READS, ADDS, AGAIN = Hints(read_only=True), Hints(destructive=False), Hints(idempotent=True)


@pytest.mark.parametrize(
    ("server", "hints", "treatment"),
    [
        (STRANGER, READS, (ONCE, ASK)),
        (STRANGER, Hints(), (ONCE, ASK)),
        (TRUSTED, Hints(), (ONCE, ASK)),
        (TRUSTED, READS, (PURE, ALLOW)),
        (TRUSTED, Hints(read_only=True, destructive=True), (PURE, ALLOW)),
        (TRUSTED, AGAIN, (IDEMPOTENT, ASK)),
        (TRUSTED, Hints(idempotent=True, destructive=False), (IDEMPOTENT, ALLOW)),
        (TRUSTED, ADDS, (ONCE, ALLOW)),
        (TRUSTED, Hints(read_only=False, destructive=True), (ONCE, ASK)),
        ({"approval": "allow"}, Hints(), (ONCE, ALLOW)),
        ({**TRUSTED, "approval": "ask"}, READS, (PURE, ASK)),
        ({"tools": {"get": {"effect": "pure"}}}, Hints(), (PURE, ALLOW)),
        ({"tools": {"get": {"effect": "idempotent"}}}, Hints(), (IDEMPOTENT, ASK)),
        ({"tools": {"g*": {"approval": "deny"}}}, READS, (ONCE, DENY)),
        ({"tools": {"g*": {"approval": "deny"}, "get": {"approval": "allow"}}}, READS, (ONCE, ALLOW)),
        ({**TRUSTED, "tools": {"put": {"approval": "deny"}}}, READS, (PURE, ALLOW)),
        ({"approval": "deny", "tools": {"get": {"approval": "allow"}}}, READS, (ONCE, ALLOW)),
    ],
)
def test_a_tool_is_treated_by_what_is_known_of_it(
    server: dict[str, object], hints: Hints, treatment: tuple[Effect, Action]
) -> None:
    """Of a stranger nothing is known, whatever it says."""
    configured = McpServer.model_validate({"command": "x", **server})
    assert treatment_of(configured, "get", hints) == Treatment(*treatment)


def test_of_two_actions_the_stricter_one_counts() -> None:
    assert stricter(ALLOW, ASK) is stricter(ASK, ALLOW) is ASK
    assert stricter(DENY, ASK) is DENY
