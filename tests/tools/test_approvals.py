"""What approval rules say of a call: tables of rules and calls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from durable_responses.tools.approvals import Approvals, JudgedCall, call_hash, given_form, judge
from durable_responses.tools.registry import Effect

ALLOW, ASK, DENY = "allow", "ask", "deny"


def said(rules: Any, name: str = "write_file", effect: Effect | None = Effect.IDEMPOTENT, **arguments: Any) -> str:
    """What rules say of a call with these arguments."""
    call = JudgedCall(name, effect, given_form(json.dumps(arguments)))
    return judge(call, Approvals.model_validate(rules)).action.value


FIRST_MATCH = [
    ([], ALLOW),
    ("ask", ASK),
    ("deny", DENY),
    ({"default": "ask"}, ASK),
    ([{"action": "ask"}], ASK),
    ([{"tool": "read_file", "action": "deny"}], ALLOW),
    ([{"tool": "write_file", "action": "deny"}], DENY),
    ([{"tool": "write_*", "action": "ask"}], ASK),
    ([{"tool": "WRITE_*", "action": "ask"}], ALLOW),
    ([{"tool": "[rw]*_file", "action": "ask"}], ASK),
    ([{"tool": "write_file", "action": "allow"}, {"tool": "*", "action": "deny"}], ALLOW),
    ([{"tool": "*", "action": "deny"}, {"tool": "write_file", "action": "allow"}], DENY),
    ({"rules": [{"tool": "write_file", "action": "allow"}], "default": "deny"}, ALLOW),
    ([{"effect": "once", "action": "ask"}], ALLOW),
    ([{"effect": "idempotent", "action": "ask"}], ASK),
]


@pytest.mark.parametrize(("rules", "action"), FIRST_MATCH)
def test_the_first_rule_that_fits_decides(rules: Any, action: str) -> None:
    assert said(rules, path="a.txt") == action


PURE = [
    ("ask", ALLOW),
    ("deny", DENY),
    ([{"tool": "read_file", "action": "ask"}], ASK),
    ([{"effect": "pure", "action": "ask"}], ASK),
    ({"default": "ask", "rules": [{"tool": "write_file", "action": "ask"}]}, ALLOW),
]


@pytest.mark.parametrize(("rules", "action"), PURE)
def test_nobody_is_asked_about_pure_tools_unless_a_rule_says_so(rules: Any, action: str) -> None:
    assert said(rules, "read_file", Effect.PURE) == action


CONDITIONS = [
    ({"path": "a.txt"}, {"path": "a.txt"}, True),
    ({"path": "a.txt"}, {"path": "b.txt"}, False),
    ({"path": "a.txt"}, {}, False),
    ({"path": "*.txt"}, {"path": "deep/down/a.txt"}, True),
    ({"path": "secret/*"}, {"path": "open/../secret/key"}, True),
    ({"path": "secret/*"}, {"path": "./secret//key"}, True),
    ({"path": {"glob": "*.md"}}, {"path": "a.md"}, True),
    ({"path": {"regex": r"\.(md|txt)$"}}, {"path": "a.txt"}, True),
    ({"path": {"regex": r"^a$"}}, {"path": "aa"}, False),
    ({"command": {"regex": r"(?i)\brm\b"}}, {"command": "sudo RM -rf /"}, True),
    ({"command": "rm *"}, {"command": "rm -rf /"}, True),
    ({"force": True}, {"force": True}, True),
    ({"force": True}, {"force": 1}, False),
    ({"count": 3}, {"count": 3.0}, True),
    ({"count": 1}, {"count": True}, False),
    ({"count": "3"}, {"count": 3}, True),
    ({"to": None}, {"to": None}, True),
    ({"a.b": "x"}, {"a": {"b": "x"}}, True),
    ({"/a.b": "x"}, {"a.b": "x"}, True),
    ({"/a~1b": "x"}, {"a/b": "x"}, True),
    ({"files.0.name": "x"}, {"files": [{"name": "x"}]}, True),
    ({"files.*.name": "x"}, {"files": [{"name": "y"}, {"name": "x"}]}, True),
    ({"*": "x"}, {"a": "y", "b": "x"}, True),
    ({"**": "*evil*"}, {"a": [{"b": ["an evil deed"]}]}, True),
    ({"**": "evil"}, {"a": [{"b": ["good"]}]}, False),
    ({"a": "x", "b": "y"}, {"a": "x", "b": "y"}, True),
    ({"a": "x", "b": "y"}, {"a": "x"}, False),
    ({"a": '{"b":1}'}, {"a": {"b": 1}}, True),
    ({"a": "[x"}, {"a": "[x"}, True),
]


@pytest.mark.parametrize(("conditions", "arguments", "fits"), CONDITIONS)
def test_a_rule_looks_at_arguments(conditions: Any, arguments: Any, fits: bool) -> None:
    rules = [{"arguments": conditions, "action": "ask"}]
    assert said(rules, **arguments) == (ASK if fits else ALLOW)


DOUBTFUL = [
    ({"path": "docs/*"}, {"path": "docs/a"}, ALLOW),
    ({"path": "docs/*"}, {"path": "docs/../etc/passwd"}, DENY),
    ({"url": "https://example.com/*"}, {"url": "https://example.com/a"}, ALLOW),
    ({"url": "https://example.com/docs/*"}, {"url": "https://example.com/docs/../admin"}, DENY),
    ({"paths.*": "docs/*"}, {"paths": ["docs/a", "docs/b"]}, ALLOW),
    ({"paths.*": "docs/*"}, {"paths": ["docs/a", "etc/b"]}, DENY),
    ({"paths.*": "docs/*"}, {"paths": []}, DENY),
    ({"path": "*"}, {"path": "x" * 70_000}, DENY),
]


@pytest.mark.parametrize(("conditions", "arguments", "action"), DOUBTFUL)
def test_a_rule_allows_only_what_fits_beyond_doubt(conditions: Any, arguments: Any, action: str) -> None:
    rules = {"rules": [{"arguments": conditions, "action": "allow"}], "default": "deny"}
    assert said(rules, **arguments) == action


UNREADABLE = ["{not JSON", '{"path": "a", "path": "b"}', "[" * 5000, '{"a": NaN}']


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize(("action", "otherwise", "wanted"), [(ASK, ALLOW, ASK), (DENY, ALLOW, DENY), (ALLOW, ASK, ASK)])
def test_arguments_that_programs_read_in_different_ways_are_in_doubt(
    text: str, action: str, otherwise: str, wanted: str
) -> None:
    rules = Approvals.model_validate(
        {"rules": [{"arguments": {"path": "z"}, "action": action}], "default": otherwise},
    )
    assert judge(JudgedCall("t", None, given_form(text)), rules).action == wanted


@pytest.mark.parametrize(("action", "fits"), [(ASK, True), (DENY, True), (ALLOW, False)])
def test_an_effect_that_nobody_knows_is_in_doubt(action: str, fits: bool) -> None:
    otherwise = DENY if action == ALLOW else ALLOW
    rules = {"rules": [{"effect": "pure", "action": action}], "default": otherwise}
    assert said(rules, effect=None) == (action if fits else otherwise)


def test_both_what_the_model_gave_and_what_the_function_takes_are_looked_at() -> None:
    call = JudgedCall("t", Effect.ONCE, [{}, {"force": True}])
    asks = Approvals.model_validate([{"arguments": {"force": True}, "action": "ask"}])
    allows = Approvals.model_validate({"rules": [{"arguments": {"force": True}, "action": "allow"}], "default": "deny"})
    assert (judge(call, asks).action, judge(call, allows).action) == (ASK, DENY)


ACTIONS = st.sampled_from([ALLOW, ASK, DENY])


@given(st.lists(ACTIONS, max_size=4))
def test_of_several_sets_of_rules_the_strictest_counts(actions: list[str]) -> None:
    sets = [Approvals.model_validate(action) for action in actions]
    strictness = [ALLOW, ASK, DENY]
    wanted = max(actions, key=strictness.index, default=ALLOW)
    assert judge(JudgedCall("t", Effect.ONCE, [{}]), *sets).action == wanted


REFUSED = [
    ({"path": {"regex": "("}}, "unclosed group"),
    ({"path": {"regex": "(?=x)"}}, "look-around"),
    ({"path": {"regex": "(a{1000}){1000}"}}, "size limit"),
    ({"path": {"regex": "x" * 501}}, "at most 500 characters"),
    ({"path": {"regexp": "x"}}, "must be text"),
    ({"path": {"glob": "x", "regex": "x"}}, "must be text"),
    ({"path": ["x"]}, "must be text"),
    ({"path": "x" * 501}, "at most 500 characters"),
]


@pytest.mark.parametrize(("conditions", "why"), REFUSED)
def test_a_condition_that_cannot_be_used_is_refused(conditions: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Approvals.model_validate([{"arguments": conditions, "action": "ask"}])


NEVER_ENDING_ELSEWHERE = [
    ({"regex": "(a+)+$"}, "a" * 60_000 + "!", ALLOW),
    ({"regex": "(x+x+)+y"}, "x" * 60_000, ALLOW),
    ({"regex": "(.*a){100}b"}, "a" * 60_000, ALLOW),
    ("*a*a*a*a*a*a*a*a*b", "a" * 60_000, ALLOW),
    ("*" * 499 + "b", "a" * 60_000, ALLOW),
    ("*" * 499 + "a", "a" * 60_000, ASK),
]


@pytest.mark.parametrize(("condition", "text", "action"), NEVER_ENDING_ELSEWHERE)
def test_a_pattern_that_takes_ages_elsewhere_is_judged(condition: Any, text: str, action: str) -> None:
    assert said([{"arguments": {"a": condition}, "action": "ask"}], a=text) == action


def test_the_hash_tells_calls_apart() -> None:
    calls = [("a", "bc"), ("ab", "c"), ("a", "bc "), ("a", '{"b": 1}'), ("a", '{"b":1}')]
    assert len({call_hash(*call) for call in calls}) == len(calls)
