"""Approval rules: which function calls run at once, which wait for their owner's answer, and which never run.

Plain Python, without I/O. Where it is not certain whether a rule matches, one that says ask or deny does, and one that
says allow does not. Glob patterns and regular expressions come from people, texts from a model, and neither can make
this slow: the expressions are those of Rust's `regex`, which does not backtrack.
"""

import hashlib
import json
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import SchemaError, from_json, to_json

from durable_responses.json_text import mended_json
from durable_responses.tools.registry import Effect

MOST_RULES = 100
_MOST_CONDITIONS = 20
_LONGEST_PATTERN = 500  # characters
_LONGEST_JUDGED = 64 * 1024  # characters of a text that is looked into
_LONGEST_JUDGING = 2.0  # seconds
_MOST_VALUES = 10_000  # places in the arguments that one condition looks at


class Action(StrEnum):
    """What a rule says of a call: it runs, it waits for its owner's answer, or it does not run."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


_STRICTEST = list(Action)


def _usable_condition(condition: Any) -> Any:
    """A condition as it was given, if it can be used: a glob pattern, a table of one pattern, or a plain value."""
    if isinstance(condition, dict):
        if len(condition) != 1 or not condition.keys() <= {"glob", "regex"}:
            raise ValueError('must be text, a number, true, false, {"glob": "…"} or {"regex": "…"}')
        [(kind, pattern)] = condition.items()
        if not isinstance(pattern, str):
            raise ValueError(f"{kind}: must be text")
        if kind == "regex":
            _check_regex(pattern)
    elif not isinstance(condition, str | bool | int | float | None):
        raise ValueError('must be text, a number, true, false, {"glob": "…"} or {"regex": "…"}')
    text = next(iter(condition.values())) if isinstance(condition, dict) else condition
    if isinstance(text, str) and len(text) > _LONGEST_PATTERN:
        raise ValueError(f"at most {_LONGEST_PATTERN} characters")
    return condition


def _check_regex(pattern: str) -> None:
    if len(pattern) > _LONGEST_PATTERN:
        return  # told as such
    try:
        _regex(pattern)
    except SchemaError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = next((line.removeprefix("error: ") for line in said if line.startswith("error: ")), said[-1])
        raise ValueError(f"regex: {why.removeprefix('SchemaError: ').rstrip('.')}") from None


Condition = Annotated[Any, AfterValidator(_usable_condition)]
"""What an argument must be: text is a glob pattern, `{"regex": …}` is found in it, other values are equal to it."""


class _Plain(BaseModel):
    """Fields that are None are left out: no other program than ours has to know them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_nulls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class ApprovalRule(_Plain):
    """A rule: what it says holds for the calls that fit all of it.

    `tool`: the tool's name, as a glob pattern. `arguments`: conditions by their place in the JSON, such as `path` or
    `files.*.name`; `*` is any name or index, `**` any depth. `reason` is told to the owner, and to the model if denied.
    """

    tool: str = Field("*", min_length=1, max_length=_LONGEST_PATTERN)
    arguments: dict[str, Condition] = Field({}, max_length=_MOST_CONDITIONS)
    effect: Effect | None = None
    action: Action
    reason: str | None = Field(None, max_length=_LONGEST_PATTERN)


class Approvals(_Plain):
    """Rules, of which the first that fits decides; `default` for all other calls. To ask is not meant for pure tools.

    Also taken: a list, which is the rules, and a word, which is the default.
    """

    rules: list[ApprovalRule] = Field([], max_length=MOST_RULES)
    default: Action = Action.ALLOW

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list):
            return {"rules": given}
        return {"default": given} if isinstance(given, str) else given

    @property
    def allow_all(self) -> bool:
        """Whether they make no difference."""
        return self.default is Action.ALLOW and all(rule.action is Action.ALLOW for rule in self.rules)


class Verdict(NamedTuple):
    """What rules say of a call, and the reason that the rule gives."""

    action: Action
    reason: str | None = None


@dataclass(frozen=True)
class JudgedCall:
    """A function call as rules see it.

    `effect`: None where nobody knows it. `forms`: its arguments as JSON values, as the model gave them and as the
    function takes them; none where they cannot be read. `also`: another name that rules may have for it.
    """

    name: str
    effect: Effect | None
    forms: Sequence[Any]
    also: str | None = None


def call_hash(name: str, arguments: str) -> str:
    """A hash over all that an approval is given for."""
    return hashlib.sha256(to_json([name, mended_json(arguments)])).hexdigest()


def given_form(arguments: str) -> list[Any]:
    """The arguments as a JSON value, in a list; an empty one where programs might read the text in different ways."""
    text = mended_json(arguments) if arguments.strip() else "{}"
    try:
        json.loads(text, object_pairs_hook=_unambiguous)
        value = from_json(text, allow_inf_nan=False)
    except (ValueError, RecursionError):
        return []
    return [{} if value is None else value]


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def judge(call: JudgedCall, *sources: Approvals | None) -> Verdict:
    """What several sets of rules say of a call together: the strictest of them."""
    clock = _Clock()
    verdicts = [_judge_one(call, approvals, clock) for approvals in sources if approvals is not None]
    return max(verdicts, key=lambda verdict: _STRICTEST.index(verdict.action), default=Verdict(Action.ALLOW))


def judge_hosted(call: JudgedCall, *sources: Approvals | None) -> Verdict:
    """The same for a call that an MCP server of somebody else's makes: only what a rule allows is allowed.

    A default of `allow` does not count: it cannot be told from none.
    """
    clock = _Clock()
    verdicts = [
        _judge_one(call, approvals, clock)
        for approvals in sources
        if approvals is not None
        and (approvals.default is not Action.ALLOW or any(_fits(rule, call, clock) for rule in approvals.rules))
    ]
    return max(verdicts, key=lambda verdict: _STRICTEST.index(verdict.action), default=Verdict(Action.ASK))


def _judge_one(call: JudgedCall, approvals: Approvals, clock: "_Clock") -> Verdict:
    rule = next((rule for rule in approvals.rules if _fits(rule, call, clock)), None)
    if rule is not None:
        return Verdict(rule.action, rule.reason)
    if approvals.default is Action.ASK and call.effect is Effect.PURE:
        return Verdict(Action.ALLOW)
    return Verdict(approvals.default)


HOSTED_TOOLS = {"enable_web_search": "web_search", "enable_code_interpreter": "code_interpreter"}
"""Tools that run at the provider, where nobody can be asked before each call, by the field that offers them."""


class OffersHostedTools(Protocol):
    """What has such fields."""

    enable_web_search: bool
    enable_code_interpreter: bool
    hosted_tools: list[dict[str, Any]] | None


def unaskable_tools(request: OffersHostedTools, approvals: Approvals) -> list[str]:
    """The fields that offer a tool which runs at the provider, against a rule. A default of `ask` is not meant."""
    problems = []
    for name, tool in HOSTED_TOOLS.items():
        action, _ = judge(JudgedCall(tool, Effect.PURE, []), approvals)
        if getattr(request, name) and action is not Action.ALLOW:
            problems.append(f"{name}: approvals say {action} for {tool}, which runs at the provider unasked")
    for index, given in enumerate(request.hosted_tools or []):
        name = f"hosted_tools[{index}]"
        if (action := said_of(given, approvals)) is not Action.ALLOW:
            problems.append(
                f"{name}: approvals say {action} for {given.get('type')}, which runs at the provider unasked"
            )
    return problems


def said_of(tool: Mapping[str, Any], approvals: Approvals) -> Action:
    """What rules say of a hosted tool: of a remote MCP server nothing, while the provider asks before each call."""
    kind, label = tool.get("type"), tool.get("server_label")
    if kind != "mcp":
        return judge(JudgedCall(str(kind), Effect.PURE, []), approvals).action
    if tool.get("require_approval") in (None, "always"):
        return Action.ALLOW
    about = [rule.action for rule in approvals.rules if rule.tool.startswith(f"{label}.")]
    about.append(judge(JudgedCall(f"{label}.*", None, []), approvals).action)
    return max(about, key=_STRICTEST.index)


# --- one rule ----------------------------------------------------------------------------------------------------


@dataclass
class _Clock:
    """Whether there is time left to look into texts."""

    give_up_at: float = field(default_factory=lambda: time.monotonic() + _LONGEST_JUDGING)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.give_up_at


def _fits(rule: ApprovalRule, call: JudgedCall, clock: _Clock) -> bool:
    in_doubt = rule.action is not Action.ALLOW
    if not any(fnmatchcase(name, rule.tool) for name in (call.name, call.also) if name is not None):
        return False
    if rule.effect is not None and call.effect is not rule.effect and not (call.effect is None and in_doubt):
        return False
    if not call.forms:
        return in_doubt or not rule.arguments
    enough = any if in_doubt else all
    return all(
        enough(_holds(condition, path, form, clock, in_doubt=in_doubt) for form in call.forms)
        for path, condition in rule.arguments.items()
    )


def _holds(condition: Any, path: str, form: Any, clock: _Clock, *, in_doubt: bool) -> bool:
    """Whether a condition holds for the values at a place: for any of them, or in rules that allow for all of them."""
    found = False
    for count, value in enumerate(_at(form, _steps(path))):
        if clock.is_over or count >= _MOST_VALUES:
            return in_doubt
        found = True
        if _is(condition, value, in_doubt=in_doubt) is in_doubt:
            return in_doubt
    return found and not in_doubt


def _steps(path: str) -> list[str]:
    if path.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    return path.split(".") if path else []


def _at(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    """The values at a place in a JSON value, one after the other."""
    left: list[tuple[Any, int]] = [(value, 0)]
    while left:
        value, index = left.pop()
        if index == len(steps):
            yield value
            continue
        step = steps[index]
        if step == "**":
            left.append((value, index + 1))
            left += [(part, index) for _, part in _parts(value)]
        else:
            left += [(part, index + 1) for name, part in _parts(value) if step in ("*", name)]


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return value.items()
    return ((str(index), part) for index, part in enumerate(value)) if isinstance(value, list) else ()


def _is(condition: Any, value: Any, *, in_doubt: bool) -> bool:
    if not isinstance(condition, str | dict):
        return (type(condition) is type(value) and bool(condition == value)) or _equal_numbers(condition, value)
    texts = _readings(value)
    if any(len(text) > _LONGEST_JUDGED for text in texts):
        return in_doubt
    kind, pattern = next(iter(condition.items())) if isinstance(condition, dict) else ("glob", condition)
    enough = any if in_doubt else all
    return enough(_found(pattern, text) if kind == "regex" else fnmatchcase(text, pattern) for text in texts)


def _equal_numbers(condition: Any, value: Any) -> bool:
    if isinstance(condition, bool) or isinstance(value, bool):
        return False
    return isinstance(condition, int | float) and isinstance(value, int | float) and condition == value


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


def _readings(value: Any) -> set[str]:
    """A value as text, and the same as a path without detours: `docs/../secrets` leads where `secrets` does."""
    if not isinstance(value, str):
        return {to_json(value).decode()}
    scheme = _SCHEME.match(value)
    start = scheme.end() if scheme else 0
    path = value[start:]
    return {value, value[:start] + posixpath.normpath(path)} if "/" in path or path.startswith(".") else {value}


def _found(pattern: str, text: str) -> bool:
    try:
        _regex(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=1000)
def _regex(pattern: str) -> TypeAdapter[str]:
    return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
