"""What one scripted response sends, and when: output items, usage and events as pure functions of the seconds passed.

Nothing here waits or remembers. A response that was read, cut off or restarted gives the same events again.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from durable_responses.emulator.model.context import sealed
from durable_responses.emulator.model.item_events import Moment, Span, closed_at, moments_of, output_text
from durable_responses.emulator.model.script import (
    Citation,
    CodeInterpreterStep,
    CompactionStep,
    CustomToolCallStep,
    Ending,
    FileSearchStep,
    FoundFile,
    FunctionCallStep,
    ImageStep,
    MadeFile,
    McpApprovalStep,
    McpCallStep,
    McpListToolsStep,
    Refuse,
    Script,
    Step,
    Text,
    WebSearchStep,
    tokens_of,
    written,
)
from durable_responses.emulator.objects.images import png
from durable_responses.responses_api.events import EventType
from durable_responses.responses_api.models import (
    FunctionCall,
    Message,
    OtherItem,
    OutputItem,
    Reasoning,
    Refusal,
    ResponseStatus,
    SummaryText,
    UrlCitation,
)


@dataclass(frozen=True)
class ContainerFile:
    """A file in a container, and what the script says of it."""

    container_id: str
    id: str
    made: MadeFile


class Timeline:
    """A script laid out in time. `key` makes ids: the same key gives the same ids. A queue of None never ends.

    `include`: the fields of items that are only sent where a request names them.
    """

    def __init__(
        self,
        script: Script,
        key: str,
        *,
        background: bool,
        reasons: bool,
        shows_summary: bool,
        encrypted: bool = False,
        include: Sequence[str] = (),
    ) -> None:
        self.script = script
        self.background = background
        self.started = float("inf") if script.queue is None else script.queue
        self.thought = self.started + script.think
        self.finished = self.thought + script.writing
        self._key = key
        self._reasons = reasons
        self._encrypted = encrypted
        self._include = include
        self._summary = script.summary if shows_summary else []

    def output(self, elapsed: float) -> list[OutputItem]:
        """The items that exist after `elapsed` seconds; an unfinished text is there as far as it was written."""
        items: list[OutputItem] = []
        for span in self.spans:
            if elapsed >= span.end:
                items.append(span.item)
            elif isinstance(span.item, Message) and (text := span.written_by(elapsed)):
                items.append(_message(span.item.id or "", text, [], "incomplete", span.item.phase))
        return items

    def output_tokens(self, elapsed: float) -> int:
        """Tokens written and thought after `elapsed` seconds."""
        return self.reasoning_tokens(elapsed) + sum(
            tokens_of(span.written_by(elapsed)) if span.text else tokens_of(_arguments(span.item))
            for span in self.spans
            if elapsed >= span.start
        )

    def reasoning_tokens(self, elapsed: float) -> int:
        """Tokens thought after `elapsed` seconds."""
        if elapsed >= self.thought:
            return self.script.thought_tokens
        if elapsed < self.started:
            return 0
        return round(self.script.thought_tokens * (elapsed - self.started) / self.script.think)

    @cached_property
    def spans(self) -> list[Span]:
        """The items in order."""
        spans = [Span(self._reasoning(), self.started, self.thought)] if self._reasons else []
        total = sum(len(written(step)) for step in self.script.output)
        start = self.thought
        for index, step in enumerate(self.script.output, len(spans)):
            text = written(step)
            end = start + (self.script.writing * len(text) / total if text else 0.0)
            spans.append(Span(self._item(step, index), start, end, text))
            start = end
        return spans

    @cached_property
    def moments(self) -> list[Moment]:
        """Every event before the last, in order. The last one, which shows the ended response, is the caller's."""
        first = [Moment(0.0, EventType.CREATED)]
        if self.background:
            first.append(Moment(0.0, EventType.QUEUED))
        if self.script.queue is None:
            return first
        first.append(Moment(self.started, EventType.IN_PROGRESS))
        return first + [moment for index, span in enumerate(self.spans) for moment in moments_of(span, index)]

    def cut(self, elapsed: float) -> "Timeline":
        """The same up to the moment when steering ends it: an unfinished item is closed with what it holds."""
        cut = copy(self)
        ending = Ending(status=ResponseStatus.INCOMPLETE, reason="steered")
        changes = {"ending": ending, "reasoning_tokens": self.reasoning_tokens(elapsed)}
        cut.script = self.script.model_copy(update=changes)
        cut.thought = min(self.thought, elapsed)
        cut.finished = elapsed
        closed = [closed_at(elapsed, span, index) for index, span in enumerate(self.spans) if span.start <= elapsed]
        cut.spans = [span for span, _ in closed]
        lifecycle = [it for it in self.moments if isinstance(it.event, EventType) and it.at <= elapsed]
        cut.moments = [*lifecycle, *(moment for _, moments in closed for moment in moments)]
        return cut

    def _id(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._key}{index:02x}"

    def _reasoning(self) -> Reasoning:
        reasoning = Reasoning(id=self._id("rs", 0), summary=[SummaryText(text=text) for text in self._summary])
        if not self._encrypted:
            return reasoning
        # Opaque to everybody; the same for the same response, however often it is read.
        content = base64.urlsafe_b64encode(hashlib.sha512(self._key.encode()).digest()).decode()
        return Reasoning.model_validate({**reasoning.model_dump(), "encrypted_content": f"gAAAAA{content}"})

    def _item(self, step: Step, index: int) -> OutputItem:
        call_id = f"call_{self._key[:20]}{index:02x}"
        if isinstance(step, Text):
            notes = [_annotation(step.text, citation).model_dump() for citation in step.citations]
            notes += [note for name in step.cites if (note := self._file_annotation(step.text, name))]
            return _message(self._id("msg", index), step.text, notes, self._message_status(index), step.phase)
        if isinstance(step, Refuse):
            refusal = Refusal(refusal=step.refusal)
            return Message(id=self._id("msg", index), status=self._message_status(index), content=[refusal])
        if isinstance(step, FunctionCallStep):
            arguments = step.arguments if isinstance(step.arguments, str) else json.dumps(step.arguments)
            item_id = self._id("fc", index)
            call = FunctionCall(id=item_id, call_id=call_id, name=step.name, arguments=arguments, status="completed")
            return call.model_copy(update={"namespace": step.namespace}) if step.namespace else call
        if isinstance(step, CustomToolCallStep):
            fields = {"call_id": call_id, "name": step.name, "input": step.input}
            return _other("custom_tool_call", self._id("ctc", index), **fields)
        if isinstance(step, WebSearchStep):
            sources = [{"type": "url", "url": url} for url in step.sources]
            action = {"type": "search", "query": step.query, "queries": [step.query], "sources": sources}
            return _other("web_search_call", self._id("ws", index), status="completed", action=action)
        if isinstance(step, FileSearchStep):
            shown = "file_search_call.results" in self._include
            results = [_found(found) for found in step.results] if shown else None
            return _other("file_search_call", self._id("fs", index), queries=step.queries, results=results)
        if isinstance(step, ImageStep):
            image = base64.b64encode(png(step.bytes)).decode()
            fields = {"result": image, "output_format": "png", "revised_prompt": step.prompt}
            return _other("image_generation_call", self._id("ig", index), **fields)
        if isinstance(step, CodeInterpreterStep):
            shown = "code_interpreter_call.outputs" in self._include
            outputs = [{"type": "logs", "logs": step.logs}] if shown else None
            ran = {"code": step.code, "container_id": step.container_id or self._id("cntr", index), "outputs": outputs}
            return _other("code_interpreter_call", self._id("ci", index), **ran)
        if isinstance(step, McpListToolsStep):
            schema = {"type": "object", "properties": {}, "additionalProperties": True}
            tools = [{"name": name, "input_schema": schema} for name in step.tools]
            listed = {"type": step.type, "id": self._id("mcpl", index), "server_label": step.server_label}
            return OtherItem.model_validate({**listed, "tools": tools})
        if isinstance(step, McpApprovalStep | McpCallStep):
            return OtherItem.model_validate(self._mcp(step, index))
        if isinstance(step, CompactionStep):
            item = {"type": "compaction", "id": self._id("cmp", index)}
            return OtherItem.model_validate({**item, "encrypted_content": sealed(item["id"], step.tokens)})
        return OtherItem.model_validate({"id": self._id("item", index), **step.item})

    def _mcp(self, step: McpApprovalStep | McpCallStep, index: int) -> dict[str, Any]:
        called = {"server_label": step.server_label, "name": step.name, "arguments": json.dumps(step.arguments)}
        if isinstance(step, McpApprovalStep):
            return {"type": step.type, "id": self._id("mcpr", index), **called}
        error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": step.error}]}
        answered = {"error": error, "status": "failed"} if step.error else {"output": step.output}
        approved = {"approval_request_id": step.approval_request_id} if step.approval_request_id else {}
        return {
            "type": step.type,
            "id": self._id("mcp", index),
            "status": "completed",
            **called,
            **approved,
            **answered,
        }

    @cached_property
    def files(self) -> list[ContainerFile]:
        """The files that its code makes."""
        return [
            ContainerFile(
                container_id=step.container_id or self._id("cntr", index),
                id=f"cfile_{self._key}{index:02x}{number:02x}",
                made=made,
            )
            for index, step in enumerate(self.script.output, 1 if self._reasons else 0)
            if isinstance(step, CodeInterpreterStep)
            for number, made in enumerate(step.files)
        ]

    def _file_annotation(self, text: str, name: str) -> dict[str, Any] | None:
        at = max(text.find(name), 0)
        for file in self.files:
            if file.made.name == name:
                place = {"start_index": at, "end_index": at + len(name), "filename": name}
                named = {"type": "container_file_citation", "container_id": file.container_id, "file_id": file.id}
                return {**named, **place}
        found = [one for step in self.script.output if isinstance(step, FileSearchStep) for one in step.results]
        if name in {one.name for one in found}:
            return {"type": "file_citation", "file_id": _file_id(name), "filename": name, "index": at}
        return None

    def _message_status(self, index: int) -> Literal["completed", "incomplete"]:
        is_last = index - (1 if self._reasons else 0) == len(self.script.output) - 1
        is_cut = is_last and self.script.ending.status == ResponseStatus.INCOMPLETE
        return "incomplete" if is_cut else "completed"


def _message(item_id: str, text: str, notes: list[dict[str, object]], status: str, phase: str | None) -> Message:
    part = output_text(text, notes)
    return Message(id=item_id, status=status, content=[part], phase=phase)


def _annotation(text: str, citation: Citation) -> UrlCitation:
    found = text.find(citation.quote) if citation.quote else -1
    start = found if found >= 0 else len(text)
    end = start + len(citation.quote) if found >= 0 else len(text)
    return UrlCitation(url=citation.url, title=citation.title, start_index=start, end_index=end)


def _other(kind: str, item_id: str, **fields: Any) -> OtherItem:
    return OtherItem.model_validate({"type": kind, "id": item_id, "status": "completed", **fields})


def _file_id(name: str) -> str:
    return f"file-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _found(found: FoundFile) -> dict[str, Any]:
    named = {"file_id": _file_id(found.name), "filename": found.name, "attributes": {}}
    return {**named, "text": found.text, "score": found.score}


def _arguments(item: OutputItem) -> str:
    if isinstance(item, FunctionCall):
        return item.name + item.arguments
    extra = (item.model_extra or {}) if isinstance(item, OtherItem) else {}
    return "".join(str(extra.get(name, "")) for name in ("name", "input", "arguments", "code", "encrypted_content"))
