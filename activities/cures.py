"""Refusals that one change of the request cures: the change is made once, remembered, and named in the result.

What a provider takes depends on the model and on whose key it is: reasoning summaries are for verified organisations,
web search does not go with effort `minimal`, some models do not reason. Only what a run can do without is changed: its
limits, its tools and the form of its answer are the caller's.
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from durable_responses.activities.conversation_items import input_items, kind_of
from durable_responses.activities.shown_images import has_images, urls_of, without_images
from durable_responses.responses_api.context_errors import exceeds_window
from durable_responses.responses_api.errors import GiveUp
from durable_responses.responses_api.models import CreateRequest, HostedTool, ReasoningEffort
from durable_responses.responses_api.request_fields import ENCRYPTED_REASONING

logger = logging.getLogger(__name__)

T = TypeVar("T")

_UNSUPPORTED = re.compile(
    r"unsupported|(?:not|no|without) (?:yet )?support|does(?:n't| not) support|unknown|unrecognized|invalid value"
    r"|cannot be used|not (?:permitted|allowed|available|implemented|possible)|extra (?:inputs|fields)|unexpected"
    r"|(?:not|un)[ _]?recogni[sz]ed|does(?:n't| not) accept"
    r"|must be verified|not verified|requires? verif"
    r"|(?:not|n't) (?:be )?enabled|\bdisabled\b|has no \w+ capability|only \w+ models|not a valid|\bis invalid\b"
    r"|invalid (?:parameter|argument|option|enum)|(?:must|should|can only) be|expected (?:one of|['\"`])"
    r"|only allowed when",
    re.IGNORECASE,
)
_SUPPORTED = re.compile(
    r"(?:(?:supported|allowed|valid|accepted|available) (?:values|options|efforts)(?: are| include)?"
    r"|(?:must|should|can only) be(?: one of| either)?|expected(?: one of)?):?(.*)",
    re.IGNORECASE | re.DOTALL,
)
_STREAMS = re.compile(r"\bstream(?:s|ed|ing)?\b|\bSSE\b|server-sent events|event-stream", re.IGNORECASE)
_NOT_ACCEPTABLE = 406  # a server that has no media type but JSON
FORMAT_NAME = "answer"  # of a schema that a caller gave without a format around it
_CONTAINER = re.compile(r"\bcntr_\w+")
_IMAGES = re.compile(r"\bimages?\b|image_|_image|\bvision\b", re.IGNORECASE)
_UNREADABLE = re.compile(
    r"invalid_(?:base64_)?image|valid image|image_(?:parse|too|file)|unsupported_image"
    r"|(?:process|parse|decode|read)\w* (?:the |your )?image"
    r"|base64|\bsize\b|too (?:large|small)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\binput(?:\[|\.)(\d+)")
_BAD_SCHEMA = "invalid_json_schema"
_EFFORTS = list(ReasoningEffort)
_MOST_CHANGES = 5  # of one request
_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class Cure:
    """One change of a request. `make` returns the changed request, None where there is nothing to change."""

    name: str
    make: Callable[[CreateRequest], CreateRequest | None] = field(compare=False)


def _without_summary(request: CreateRequest) -> CreateRequest | None:
    reasoning = request.reasoning
    if reasoning is None or reasoning.summary is None:
        return None
    return request.model_copy(update={"reasoning": reasoning.model_copy(update={"summary": None})})


def _without_reasoning(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"reasoning": None}) if request.reasoning else None


def _without_verbosity(request: CreateRequest) -> CreateRequest | None:
    text = request.text
    if text is None or text.verbosity is None:
        return None
    rest = text.model_copy(update={"verbosity": None})
    return request.model_copy(update={"text": rest if rest.format else None})


def _without_metadata(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"metadata": None}) if request.metadata else None


def _without_preview(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"stream": False}) if request.background and request.stream else None


def _without_include(request: CreateRequest) -> CreateRequest | None:
    others = [each for each in request.include or [] if each != ENCRYPTED_REASONING]  # what the caller has asked for
    return request.model_copy(update={"include": others or None}) if others != (request.include or []) else None


def _without_context_management(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"context_management": None}) if request.context_management else None


def _without_stream(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"stream": False}) if request.stream and not request.background else None


def _without_store(request: CreateRequest) -> CreateRequest | None:
    return request.model_copy(update={"store": None}) if request.store and not request.background else None


def _without_strictness(request: CreateRequest) -> CreateRequest | None:
    """Only where strictness is our default: a caller who asks for it gets it, or the refusal."""
    text = request.text
    if text is None or text.format is None or text.format.get("name") != FORMAT_NAME or not text.format.get("strict"):
        return None
    return request.model_copy(update={"text": text.model_copy(update={"format": {**text.format, "strict": False}})})


def _without_images(request: CreateRequest) -> CreateRequest | None:
    """The caller's own images stay: without them there would be another task."""
    if isinstance(request.input, str) or not has_images(request.input):
        return None
    left = without_images(request.input, "There was an image, which this model cannot be given.")
    return request.model_copy(update={"input": left})


NO_IMAGES = Cure("images of tools were left out", _without_images)
NO_SUMMARY = Cure("reasoning.summary was left out", _without_summary)
NO_REASONING = Cure("reasoning was left out", _without_reasoning)
NO_VERBOSITY = Cure("text.verbosity was left out", _without_verbosity)
NO_METADATA = Cure("metadata was left out", _without_metadata)
NO_INCLUDE = Cure("include was left out, so the model's reasoning is not sent again", _without_include)
NO_CONTEXT_MANAGEMENT = Cure(
    "context_management was left out, so only the run itself has its conversation compacted",
    _without_context_management,
)
NOT_STRICT = Cure("text.format is not strict", _without_strictness)
NO_STREAM = Cure("stream was left out, so nothing is seen before the answer is there", _without_stream)
NO_STORE = Cure("store was left out", _without_store)
NO_PREVIEW = Cure("stream was left out, so there is no live preview", _without_preview)


def other_effort(wanted: str, taken: str, *, with_tools: bool = False) -> Cure:
    """Another effort in place of the wanted one; `with_tools`: only where the provider's own tools are offered."""

    def make(request: CreateRequest) -> CreateRequest | None:
        reasoning = request.reasoning
        if reasoning is None or reasoning.effort != wanted or (with_tools and not _has_hosted_tools(request)):
            return None
        return request.model_copy(update={"reasoning": reasoning.model_copy(update={"effort": taken})})

    return Cure(f"reasoning.effort is {taken} instead of {wanted}", make)


def other_search_tool(name: str) -> Cure:
    """Web search under the name by which the provider has it."""

    def make(request: CreateRequest) -> CreateRequest | None:
        tools = [
            HostedTool(type=name) if tool == HostedTool(type="web_search") else tool for tool in request.tools or []
        ]
        return request.model_copy(update={"tools": tools}) if tools != (request.tools or []) else None

    return Cure(f"the tool web_search is called {name}", make)


def without_containers(*containers: str) -> Cure:
    """Without the calls that ran in containers that are gone, what a shell has put out, and the reasoning before each.

    Reasoning is refused without the item that followed it.
    """

    def make(request: CreateRequest) -> CreateRequest | None:
        items = input_items(request.input)
        gone = {place for place, item in enumerate(items) if _container_of(item) in containers}
        gone |= {place - 1 for place in gone if place and kind_of(items[place - 1]) == "reasoning"}
        calls = {items[place].get("call_id") for place in gone if kind_of(items[place]) == "shell_call"}
        gone |= {
            place
            for place, item in enumerate(items)
            if kind_of(item) == "shell_call_output" and item.get("call_id") in calls
        }
        left = [item for place, item in enumerate(items) if place not in gone]
        return request.model_copy(update={"input": left}) if gone else None

    return Cure("calls were left out, as their container is gone", make)


def without_items(kind: str) -> Cure:
    """Without the items of one kind, which a server of the conversation's earlier part knew and this one does not.

    Reasoning is refused without the item that followed it.
    """

    def make(request: CreateRequest) -> CreateRequest | None:
        items = input_items(request.input)
        gone = {place for place, item in enumerate(items) if kind_of(item) == kind}
        gone |= {place - 1 for place in gone if place and kind_of(items[place - 1]) == "reasoning"}
        left = [item for place, item in enumerate(items) if place not in gone]
        return request.model_copy(update={"input": left}) if gone and left else None

    return Cure(f"items of type {kind} were left out", make)


_DISPENSABLE = frozenset(
    {
        *("reasoning", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
        *("mcp_list_tools", "mcp_call", "tool_search_call"),
    }
)
"""Kinds of items that the model can do without: what came of them is in what it said next."""
_SHORTEST_ID = 4  # characters
_OF_ITEMS = re.compile(r"\b(?:input|items?)\b", re.IGNORECASE)


def _refused_items(request: CreateRequest, refusal: GiveUp) -> Cure | None:
    """The change that cures the refusal of an item that was put out by the model or the provider's tools."""
    items = [] if isinstance(request.input, str) else input_items(request.input)
    kinds = {str(kind_of(item)) for item in items} & _DISPENSABLE
    text = f"{refusal} {refusal.param or ''}"
    if not kinds or exceeds_window(refusal.code, str(refusal)):
        return None
    place = _PLACE.search(text)
    named = items[int(place[1]) : int(place[1]) + 1] if place else _named_by_id(items, text)
    if named:
        kind = str(kind_of(named[0]))
        return without_items(kind) if kind in kinds else None
    if not (_UNSUPPORTED.search(text) and _OF_ITEMS.search(text)):
        return None
    return next((without_items(kind) for kind in sorted(kinds) if re.search(rf"\b{kind}\b", text)), None)


def _named_by_id(items: list[Any], text: str) -> list[Any]:
    ids = ((item, item.get("id")) for item in items if isinstance(item, dict))
    return [item for item, own in ids if isinstance(own, str) and len(own) >= _SHORTEST_ID and own in text][:1]


def without_these_images(*marks: str) -> Cure:
    """Without the images of tools that have these marks, which the provider cannot read."""

    def make(request: CreateRequest) -> CreateRequest | None:
        if isinstance(request.input, str) or not has_images(request.input):
            return None
        why = "There was an image, which cannot be read."
        left = without_images(request.input, why, lambda url: mark_of(url) in marks)
        return request.model_copy(update={"input": left}) if left != list(request.input) else None

    return Cure(f"an image of a tool that cannot be read was left out ({', '.join(marks)})", make)


def mark_of(url: str) -> str:
    """What an image is known by."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _image(request: CreateRequest, refusal: GiveUp) -> Cure | None:
    """Some models take no images; and an image that begins as one may go on as something else."""
    text = f"{refusal} {refusal.param or ''} {refusal.code or ''}"
    if isinstance(request.input, str) or not _IMAGES.search(text) or not has_images(request.input):
        return None
    if not _UNREADABLE.search(text):
        return NO_IMAGES if _UNSUPPORTED.search(text) else None
    place = _PLACE.search(text)
    items = list(request.input)
    refused = items[int(place[1]) : int(place[1]) + 1] if place else items
    return without_these_images(*map(mark_of, urls_of(refused) or urls_of(items)))


def _container_of(item: Any) -> str | None:
    """The container of a call of the code interpreter, an empty text if it names none; that of a call of a shell.

    None for any other item, and for a shell that has none.
    """
    if kind_of(item) == "shell_call":
        environment = item.get("environment")
        container = environment.get("container_id") if isinstance(environment, dict) else None
        return container if isinstance(container, str) else None
    if kind_of(item) != "code_interpreter_call":
        return None
    container = item.get("container_id")
    return container if isinstance(container, str) else ""


def is_about_a_container(refusal: GiveUp) -> bool:
    """Whether a refusal speaks of a container that the conversation names: it ends 20 minutes after its last use."""
    return "container" in f"{refusal} {refusal.param or ''}".lower() and not (refusal.param or "").startswith("tools")


def gone_container(request: CreateRequest, refusal: GiveUp) -> Cure | None:
    """The change that cures a refusal for a container, None if it is another one.

    Containers expire after 20 minutes; a conversation that is sent in full names them for ever.
    """
    if not is_about_a_container(refusal):
        return None
    named = _CONTAINER.search(f"{refusal} {refusal.param or ''}")
    # Where none is named, those of this request: another run of this model may have one that lives.
    items = input_items(request.input)
    of_this = {container for item in items if (container := _container_of(item)) is not None}
    found = (without_containers(named[0]) if named else None, without_containers(*sorted(of_this)))
    return next((cure for cure in found if cure is not None and cure.make(request) is not None), None)


def cure_for(request: CreateRequest, refusal: GiveUp) -> Cure | None:
    """The one change that cures a refusal, None if none is known. It changes this request."""
    text = str(refusal)
    if (cure := gone_container(request, refusal)) is not None:
        return cure
    if (cure := _image(request, refusal)) is not None:
        return cure
    if (cure := _refused_items(request, refusal)) is not None:
        return cure
    if refusal.status == _NOT_ACCEPTABLE and request.stream:
        return NO_PREVIEW if request.background else NO_STREAM
    if not _UNSUPPORTED.search(text) and refusal.code != _BAD_SCHEMA:
        # Whatever its words are, a server that speaks of streams refuses this one.
        return NO_PREVIEW if _STREAMS.search(text) and _without_preview(request) else None
    return next((cure for cure in _candidates(request, refusal, text) if cure.make(request) is not None), None)


def _candidates(request: CreateRequest, refusal: GiveUp, text: str) -> list[Cure]:
    param = refusal.param or ""
    about = param or text
    supported = _SUPPORTED.search(text)
    listed = set(re.findall(r"\w+", supported[1])) if supported else set()
    found: list[Cure] = [NOT_STRICT] if refusal.code == _BAD_SCHEMA else []
    if re.search(r"summar(?:y|ies)", about) or (not param.startswith("reasoning.") and "reasoning summar" in text):
        found.append(NO_SUMMARY)
    if _names_effort(about) or _names_effort(text):
        found += _efforts(request, listed, text)
    if "verbosity" in about or _is_named("text", text):
        found.append(NO_VERBOSITY)
    if "web_search_preview" in listed and (param.startswith("tools") or "web_search" in text):
        found.append(other_search_tool("web_search_preview"))
    if re.search(r"\breasoning\b(?![._ ](?:effort|encrypted))|\bthinking\b", about, re.IGNORECASE) and not found:
        found.append(NO_REASONING)
    if param == "metadata" or _is_named("metadata", text):
        found.append(NO_METADATA)
    if param == "store" or _is_named("store", text) or re.search(r"\bstoring\b", text, re.IGNORECASE):
        found.append(NO_STORE)
    if param in ("stream", "background") or (not param and _STREAMS.search(text)):
        found.append(NO_PREVIEW)
    if param.startswith("context_management") or (not param and re.search(r"context[_ ]management", text)):
        found.append(NO_CONTEXT_MANAGEMENT)
    if param.startswith("include") or re.search(_INCLUDED, text, re.IGNORECASE):
        found.append(NO_INCLUDE)
    if param == "stream" or (not param and _STREAMS.search(text)):
        found.append(NO_STREAM)
    return found


_INCLUDED = r"['\"`]include\b|\binclude\[|for include\b|encrypted[_ ]content"


def _is_named(name: str, text: str) -> bool:
    """Whether the sentence of a refusal is about the field of this name, which is an ordinary word as well."""
    about = (
        rf"(?:parameter|field|argument|key|property|option)s?(?: supplied)?:? ['\"`]?{name}\b(?![.\[])",
        rf"['\"`]{name}['\"`]",
        rf": {name} (?:is|must|should|cannot|may)\b",
        rf"\b{name}=(?:true|false)\b",
    )
    return re.search("|".join(about), text, re.IGNORECASE) is not None


def _names_effort(text: str) -> bool:
    return re.search(r"reasoning[._ ]effort", text) is not None


def _efforts(request: CreateRequest, listed: set[str], text: str) -> list[Cure]:
    wanted = request.reasoning.effort if request.reasoning else None
    if wanted is None or wanted not in set(_EFFORTS):
        return []
    if "tool" in text:
        minimal = wanted == ReasoningEffort.MINIMAL
        return [other_effort(wanted, ReasoningEffort.LOW, with_tools=True)] if minimal else []
    place = _EFFORTS.index(ReasoningEffort(wanted))
    # The nearest, the lesser one of two; none is another thing than little.
    known = [effort for effort in _EFFORTS if effort in listed and effort not in (wanted, ReasoningEffort.NONE)]
    nearest = sorted(known, key=lambda effort: (abs(_EFFORTS.index(effort) - place), _EFFORTS.index(effort)))
    return [other_effort(wanted, nearest[0])] if nearest else [NO_REASONING]


def _has_hosted_tools(request: CreateRequest) -> bool:
    return any(tool.type != "function" for tool in request.tools or [])


class Changed(Exception):
    """A request was refused, and is changed from now on: send it again."""


@dataclass
class Cures:
    """What the provider of one worker was found to refuse, by model.

    A change that has not helped is forgotten: the refusal was about something else, which is nothing to other runs.
    """

    _known: dict[str, list[Cure]] = field(default_factory=dict)
    _proven: set[tuple[str, str]] = field(default_factory=set)

    async def sent(self, request: CreateRequest, send: Callable[[CreateRequest], Awaitable[T]]) -> tuple[T, list[str]]:
        """Send a request with the changes that its model is known to need. Returns what `send` does, and their names.

        Raises `Changed` after a refusal that one more change cures, else what `send` raises.
        """
        changes: list[str] = []
        for known in self._known.get(request.model, []):
            if (changed := known.make(request)) is not None:
                request, changes = changed, [*changes, known.name]
        try:
            taken = await send(request)
        except GiveUp as refusal:
            cure = cure_for(request, refusal) if len(changes) < _MOST_CHANGES else None
            if cure is None:
                self._forget(request.model, changes)
                raise
            logger.warning("%s: %s, because: %s", request.model, cure.name, str(refusal)[:_REASON_CHARACTERS])
            self._remember(request.model, cure)
        else:
            self._proven.update((request.model, name) for name in changes)
            return taken, changes
        raise Changed

    def _forget(self, model: str, changes: list[str]) -> None:
        """Forget those of the changes with which no request was ever taken."""
        vain = {name for name in changes if (model, name) not in self._proven}
        self._known[model] = [cure for cure in self._known.get(model, []) if cure.name not in vain]

    def _remember(self, model: str, cure: Cure) -> None:
        known = self._known.setdefault(model, [])
        if cure not in known:
            known.append(cure)
