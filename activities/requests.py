"""The request of a create: what a run asks for, and what its worker adds because history does not hold it.

A conversation that is sent in full is put together by `activities.conversations`. From the top down: the builder, the
body of the request, and the full input of a run that does not know its conversation and whose chain was refused.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from durable_responses.activities.artifacts import ArtifactError, OutputFolders
from durable_responses.activities.budgets import Reserving
from durable_responses.activities.conversation_items import input_items, user_message
from durable_responses.activities.conversations import Conversations, ConversationTurn
from durable_responses.activities.cures import FORMAT_NAME, Cures
from durable_responses.activities.failures import broken_chain, detail_of, failed_read, invalid_input
from durable_responses.activities.gate import GateTurn, KeyGate
from durable_responses.activities.inputs import InputError, opening_input, workspace_of
from durable_responses.activities.messages import (
    CreateResponse,
    FailureType,
    ModelOptions,
    SaveOptions,
)
from durable_responses.activities.shown_images import has_images, with_images
from durable_responses.activities.till import current_turn
from durable_responses.activities.tool_lists import hosted_by_provider, offered_by_servers
from durable_responses.activities.tools import READ_OUTPUT, definitions, output_reader
from durable_responses.capabilities import Capabilities
from durable_responses.context_windows import window_of
from durable_responses.mcp_tools.names import own_tools
from durable_responses.mcp_tools.sessions import Sessions
from durable_responses.nearest_name import did_you_mean
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import NotFound, ResponsesError
from durable_responses.responses_api.models import (
    CreateRequest,
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    HostedTool,
    InputItem,
    McpApprovalResponse,
    ReasoningEffort,
    ReasoningOptions,
    RequestTool,
    Response,
    TextOptions,
    UserMessage,
)
from durable_responses.responses_api.redaction import SHORTEST_SECRET
from durable_responses.responses_api.request_fields import ENCRYPTED_REASONING, names_of_secrets, with_secrets
from durable_responses.tools.approvals import Approvals, unaskable_tools
from durable_responses.tools.outputs import read_image
from durable_responses.tools.owner import ASK_OWNER, DESCRIPTION, PARAMETERS
from durable_responses.tools.registry import Registry, UnknownToolError

COMPACTION_TRIGGER = {"type": "compaction_trigger"}
"""The last input item of a create whose response is to be a compaction."""
_LEAST_THRESHOLD = 1_000
_WORKED_OUT_WITHIN = 2.0  # seconds
_MAY_HAVE_COST = (FailureType.CREATE_AMBIGUOUS, FailureType.RESPONSE_LOST)
_SHORT_SECRET = (
    "${{{0}}} has fewer than {1} characters, so it could not be masked where it is repeated; use a longer one."
)
_NO_SECRET = "${{{0}}} is not a secret that this worker gives to runs; list {0} in its AGENT_SECRETS, and set it."
DEFAULT_INSTRUCTIONS = (
    "You work autonomously: nobody will answer questions. Use the tools you are given, as often as needed, and go on "
    "until the task is done. Then give the full answer."
)
INSTRUCTIONS_WITH_QUESTIONS = (
    "You work autonomously. Use the tools you are given, as often as needed, and go on until the task is done. Then "
    f"give the full answer. Questions are answered only if you ask them by {ASK_OWNER}: ask what only your owner can "
    "know or decide, not what you can find out."
)


@dataclass
class RequestBuilder:
    """What a worker adds to a create: its tools, its default model, the files it may read, what its provider can do."""

    client: ResponsesClient
    registry: Registry
    default_model: str
    files_roots: list[Path]
    workspace: Path = Path()
    cures: Cures = field(default_factory=Cures)
    outputs: OutputFolders = field(default_factory=OutputFolders)
    capabilities: Capabilities = field(default_factory=Capabilities)
    approvals: Approvals | None = None
    conversations: Conversations = field(default_factory=Conversations)
    gate: KeyGate = field(default_factory=KeyGate)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    sessions: Sessions = field(default_factory=lambda: Sessions({}))
    reserving: Reserving = field(default_factory=Reserving)

    def at_the_gate(self, create: CreateResponse) -> GateTurn:
        """Where a create learns whether it may be sent now."""
        run = activity.info().workflow_id or ""
        return GateTurn(self.gate, run, create.options.model or self.default_model, create.probes or False)

    def turn(self, create: CreateResponse) -> ConversationTurn:
        """What a create has to do with the conversation of its run."""
        return self.conversations.turn(create, self.own_items, self.window(create))

    def window(self, create: CreateResponse) -> int | None:
        """The tokens of the model's context window, where the run goes by it and it is known."""
        if not create.manages_context:
            return None
        further = (create.options.extra_body or {}).get("model")
        model = further if isinstance(further, str) else create.options.model
        return create.context_window or window_of(model or self.default_model)

    async def own_items(self, create: CreateResponse) -> list[Any]:
        """The items that a create adds to its conversation. Raises `ApplicationError`."""
        return input_items(await self._input(create))

    async def build(
        self,
        create: CreateResponse,
        turn: ConversationTurn | None = None,
        fetching: Callable[[], Awaitable[None]] | None = None,
        *,
        background: bool,
        stream: bool,
        reserves: bool = True,
    ) -> CreateRequest:
        """The request to send; `fetching` is awaited if its conversation has to be read from history first.

        `reserves`: whether what it may cost is set aside in the budgets of its tenant.

        Raises `ApplicationError`, of type `invalid_input` for input that cannot be used.
        """
        info = activity.info()
        if create.save is not None:
            await self._check(create.save)
        if create.workspace is not None and create.iteration == 1:
            await self._check_workspace(create.workspace)
        own = await self._input(create)
        of_servers = await self._of_servers(create, fetching)
        options = self._with_secrets(create.options)
        if create.hosted_servers:
            of_the_provider = hosted_by_provider(self.sessions, create.hosted_servers)
            options = options.model_copy(update={"hosted_tools": [*(options.hosted_tools or []), *of_the_provider]})
        store = create.conversation is None or create.conversation.store is not False
        request = create_request(
            options,
            default_model=self.default_model,
            functions=self._functions(create.options, of_servers, reads_outputs=create.reads_outputs or False),
            input=await self._with_images(create, own if turn is None else await turn.given(own, fetching)),
            previous_response_id=create.previous_response_id,
            metadata={
                "workflow_id": info.workflow_id or "",
                "run_id": info.workflow_run_id or "",
                "iteration": str(create.iteration),
                "attempt": str(create.attempt),
            },
            background=background and store,
            stream=stream,
            effort_asked=create.effort_asked,
            is_first=create.iteration == 1,
        )
        if not store:
            include = list(dict.fromkeys([*(request.include or []), ENCRYPTED_REASONING]))
            request = request.model_copy(update={"store": False, "include": include})
        window = turn.window if turn is not None else self.window(create)
        if create.compacts:
            request = request.model_copy(update={"input": [*input_items(request.input), COMPACTION_TRIGGER]})
        elif window:
            request = request.model_copy(update={"context_management": context_management(window)})
        request, worst_case = await self.reserving.request_within(create, request, input_items(own))
        if reserves and (till := current_turn()) is not None:
            bounded = partial(self.reserving.bounded, create, request, input_items(own), worst_case)
            if (lowered := await till.reserve(create, bounded)) is not None:
                worst_case = lowered
                request = request.model_copy(update={"max_output_tokens": lowered.output_tokens})
        if turn is not None:
            turn.worst_case = worst_case
        return request

    @contextlib.asynccontextmanager
    async def telling_what_may_be_lost(self, create: CreateResponse, turn: ConversationTurn) -> AsyncIterator[None]:
        """Says with the failure of a create of which nobody knows what became, what it may have cost at most."""
        try:
            yield
        except ApplicationError as error:
            detail = detail_of(error)
            if detail is not None and (error.type in _MAY_HAVE_COST or detail.may_still_run):
                if turn.worst_case is None:  # an earlier attempt may have sent it
                    await self._work_out(create, turn)
                detail.at_most, detail.most_tokens = turn.at_most, turn.most_tokens
            raise

    async def _work_out(self, create: CreateResponse, turn: ConversationTurn) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_WORKED_OUT_WITHIN):
                unlimited = create.model_copy(update={"budget": None})
                await self.build(unlimited, turn, background=False, stream=False, reserves=False)

    def _with_secrets(self, options: ModelOptions) -> ModelOptions:
        """The options with the worker's secrets where they are named. They go to the provider, and nowhere else."""
        if options.hosted_tools is None and options.extra_body is None:
            return options
        resolved = {}
        for name in ("hosted_tools", "extra_body"):
            given = getattr(options, name)
            unknown = [secret for secret in names_of_secrets(given) if secret not in self.secrets]
            if unknown:
                raise invalid_input(InputError(name, _NO_SECRET.format(unknown[0])))
            short = [secret for secret in names_of_secrets(given) if len(self.secrets[secret]) < SHORTEST_SECRET]
            if short:
                raise invalid_input(InputError(name, _SHORT_SECRET.format(short[0], SHORTEST_SECRET)))
            resolved[name] = with_secrets(given, self.secrets.__getitem__)
        return options.model_copy(update=resolved)

    async def _check(self, save: SaveOptions) -> None:
        try:
            await asyncio.to_thread(self.outputs.check, save)
        except ArtifactError as error:
            raise invalid_input(InputError("save", str(error))) from None

    async def _check_workspace(self, given: str) -> None:
        try:
            await asyncio.to_thread(workspace_of, given, self.workspace)
        except InputError as error:
            raise invalid_input(error) from None

    async def _with_images(self, create: CreateResponse, given: str | list[Any]) -> str | list[Any]:
        """The input with the images of tools, which history does not have."""
        if isinstance(given, str) or not has_images(given):
            return given

        def read(name: str) -> bytes:
            try:
                workspace = workspace_of(create.workspace, self.workspace)
            except InputError as error:  # the run was begun by a worker of another project
                raise OSError(str(error)) from None
            return read_image(workspace, run, name)

        run = activity.info().workflow_id or ""
        return await asyncio.to_thread(with_images, given, read)

    async def _of_servers(
        self, create: CreateResponse, fetching: Callable[[], Awaitable[None]] | None
    ) -> list[FunctionTool]:
        if not create.mcp_tools:
            return []
        if fetching is not None and not all(map(self.sessions.is_ready, create.mcp_tools)):
            await fetching()
        return await offered_by_servers(self.sessions, create.mcp_tools)

    def _functions(
        self, options: ModelOptions, of_servers: Sequence[FunctionTool], *, reads_outputs: bool
    ) -> list[FunctionTool]:
        if self.approvals is not None and (problems := unaskable_tools(options, self.approvals)):
            raise invalid_input(InputError(*problems[0].split(": ", 1)))
        try:
            offered = definitions(self.registry, own_tools(options.tools))
        except UnknownToolError as error:
            near = did_you_mean(error.names[0], error.known) if len(error.names) == 1 else ""
            raise invalid_input(InputError("tools", f"{error}{near}")) from None
        if reads_outputs and READ_OUTPUT not in (tool.name for tool in offered):
            offered.append(output_reader())
        own = [FunctionTool(**tool.model_dump(exclude={"task_queue", "effect"})) for tool in options.caller_tools or []]
        if twice := sorted({tool.name for tool in offered} & {tool.name for tool in own}):
            problem = f"the worker has a tool of this name, too: {', '.join(twice)}"
            raise invalid_input(InputError("caller_tools", problem))
        if twice := sorted({tool.name for tool in of_servers} & {tool.name for tool in (*offered, *own)}):
            problem = f"an MCP server has a tool of this name, too: {', '.join(twice)}"
            raise invalid_input(InputError("tools", problem))
        all_of_them = [*offered, *own, *of_servers]
        if not options.allow_questions:
            return all_of_them
        if any(tool.name == ASK_OWNER for tool in all_of_them):
            raise invalid_input(InputError("allow_questions", f"there is another tool named {ASK_OWNER}"))
        return [*all_of_them, FunctionTool(name=ASK_OWNER, description=DESCRIPTION, parameters=PARAMETERS)]

    async def _input(self, create: CreateResponse) -> str | list[Any]:
        before = await self._input_before_texts(create)
        if not create.texts:
            return before
        items = [user_message(before)] if isinstance(before, str) else before
        return [*items, *map(user_message, create.texts)]

    async def _input_before_texts(self, create: CreateResponse) -> str | list[Any]:
        if create.opening is None:
            return list(create.new_items)
        try:
            opening = await asyncio.to_thread(opening_input, create.opening, self.files_roots)
        except InputError as error:
            raise invalid_input(error) from None
        if not create.rebuild_from:
            return opening if isinstance(opening, str) else list(opening)
        try:
            return await full_input(self.client, create, opening)
        except NotFound as error:
            raise broken_chain(error) from None
        except ResponsesError as error:
            raise failed_read(error, create.rebuild_from[-1]) from None


# --- the body: plain Python, no I/O ------------------------------------------------------------------------------


def create_request(
    options: ModelOptions,
    *,
    default_model: str,
    functions: list[FunctionTool],
    input: str | list[Any],  # noqa: A002 - the API's name
    previous_response_id: str | None,
    metadata: dict[str, str],
    background: bool,
    stream: bool,
    effort_asked: bool = True,
    is_first: bool = False,
) -> CreateRequest:
    """The request of one iteration. `store` is always explicit: what is stored is found again after a crash."""
    tools, model = tools_for(options, functions), options.model or default_model
    # Many models and gateways refuse what nobody has asked for.
    asked = effort_asked or options.reasoning_summary
    return CreateRequest(
        model=model,
        input=input,
        instructions=instructions_for(options),
        tools=tools or None,
        reasoning=reasoning_for(options) if asked or is_known_to_reason(model) else None,
        text=text_for(options),
        max_output_tokens=options.max_output_tokens,
        previous_response_id=previous_response_id,
        max_tool_calls=options.max_tool_calls,
        service_tier=options.service_tier,
        temperature=options.temperature,
        top_p=options.top_p,
        truncation=options.truncation,
        include=options.include,
        prompt_cache_key=options.prompt_cache_key,
        safety_identifier=options.safety_identifier,
        parallel_tool_calls=options.parallel_tool_calls,
        tool_choice=tool_choice_for(options.tool_choice, is_first=is_first),
        extra_body=further_fields_for(options.extra_body, is_first=is_first),
        background=background,
        store=True,
        stream=stream,
        metadata={**options.metadata, **metadata},
    )


def context_management(window: int) -> list[dict[str, Any]]:
    """What asks the provider to compact the conversation by itself; it takes no threshold below 1,000 tokens."""
    return [{"type": "compaction", "compact_threshold": max(_LEAST_THRESHOLD, window * 7 // 10)}]


def instructions_for(options: ModelOptions) -> str:
    """The default instructions, followed by the caller's."""
    default = INSTRUCTIONS_WITH_QUESTIONS if options.allow_questions else DEFAULT_INSTRUCTIONS
    if not options.instructions:
        return default
    return f"{default}\n\nAdditional instructions: {options.instructions}"


def tools_for(options: ModelOptions, functions: list[FunctionTool]) -> list[RequestTool]:
    """The enabled hosted tools, then the function tools."""
    tools: list[RequestTool] = []
    if options.enable_web_search:
        tools.append(HostedTool(type="web_search"))
    if options.enable_code_interpreter:
        tools.append(HostedTool.model_validate({"type": "code_interpreter", "container": {"type": "auto"}}))
    tools += [HostedTool.model_validate(tool) for tool in options.hosted_tools or []]
    return [*tools, *functions]


def further_fields_for(extra: dict[str, Any] | None, *, is_first: bool) -> dict[str, Any] | None:
    """The further fields that were asked for; a `tool_choice` among them as that of the run."""
    choice = (extra or {}).get("tool_choice")
    if extra is None or not isinstance(choice, str | dict):
        return extra
    taken = tool_choice_for(choice, is_first=is_first)
    rest = {name: value for name, value in extra.items() if name != "tool_choice"}
    return rest if taken is None else {**rest, "tool_choice": taken}


def tool_choice_for(choice: str | dict[str, Any] | None, *, is_first: bool) -> str | dict[str, Any] | None:
    """The choice that was asked for; one that forces a call only for the first response of the run.

    With each response forced to call something, there would never be an answer.
    """
    mode = choice.get("mode") if isinstance(choice, dict) and choice.get("type") == "allowed_tools" else choice
    if is_first or mode in (None, "auto", "none"):
        return choice
    return {**choice, "mode": "auto"} if isinstance(choice, dict) and mode != choice else None


_KNOWN_TO_REASON = re.compile(r"(?:^|[/:_.-])(?:o\d|gpt-?(?:[5-9]|\d\d)|gpt-oss|codex|computer-use)", re.IGNORECASE)


def is_known_to_reason(model: str) -> bool:
    """Whether a model of this name takes `reasoning`. Of other names nobody can tell."""
    return _KNOWN_TO_REASON.search(model) is not None


def reasoning_for(options: ModelOptions) -> ReasoningOptions | None:
    """No `reasoning` at all for effort none; a summary only if requested."""
    if options.reasoning_effort is ReasoningEffort.NONE:
        return None
    return ReasoningOptions(
        effort=options.reasoning_effort.value, summary="auto" if options.reasoning_summary else None
    )


def text_for(options: ModelOptions) -> TextOptions | None:
    """Verbosity and output format, where one of them was given."""
    if options.verbosity is None and options.text_format is None:
        return None
    return TextOptions(
        verbosity=options.verbosity.value if options.verbosity else None,
        format=_json_schema(options.text_format) if options.text_format else None,
    )


def _json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A bare schema is wrapped; a ready `format` object passes."""
    if schema.get("type") in ("json_schema", "json_object", "text"):
        return schema
    return {"type": "json_schema", "name": FORMAT_NAME, "schema": schema, "strict": True}


# --- the full input, where the chain was refused -----------------------------------------------------------------


async def full_input(client: ResponsesClient, create: CreateResponse, opening: str | list[InputItem]) -> list[Any]:
    """The run's opening, then each response's output with what was said to it, oldest first.

    Answers to calls and messages of the user come from the input items of the stored responses; the newest answers are
    in the request itself. Raises `ResponsesError` when a response cannot be read.
    """
    told = _Told()
    told.take(None, create.new_items)
    responses: list[Response] = []
    for response_id in create.rebuild_from:
        responses.append((await client.retrieve(response_id)).response)
        told.take(response_id, await client.input_items(response_id))
    items: list[Any] = [user_message(opening)] if isinstance(opening, str) else list(opening)
    for response, next_id in zip(responses, [*create.rebuild_from[1:], None], strict=True):
        items += response.output
        items += told.answers_to(response.function_calls, next_id)
        items += told.approvals.get(next_id, [])
        items += told.messages.get(next_id, [])
    return items


@dataclass
class _Told:
    """What the model was told, by the response that it was given to: answers to calls, approvals, the user's messages.

    None stands for the response that is to be created.
    """

    answers: dict[str | None, list[FunctionCallOutput]] = field(default_factory=dict)
    approvals: dict[str | None, list[McpApprovalResponse]] = field(default_factory=dict)
    messages: dict[str | None, list[UserMessage]] = field(default_factory=dict)
    _seen: set[Any] = field(default_factory=set)

    def take(self, response_id: str | None, given: Sequence[InputItem]) -> None:
        """Take the input items of a response. Some servers list those of the responses before it, too."""
        for item in given:
            if isinstance(item, FunctionCallOutput):
                self.answers.setdefault(response_id, []).append(item)
            elif isinstance(item, McpApprovalResponse):
                if item.approval_request_id not in self._seen:
                    self._seen.add(item.approval_request_id)
                    self.approvals.setdefault(response_id, []).append(item)
            elif isinstance(item, UserMessage) and (id_ := (item.model_extra or {}).get("id")) not in self._seen:
                self._seen.add(id_)
                self.messages.setdefault(response_id, []).append(item)

    def answers_to(self, calls: list[FunctionCall], next_id: str | None) -> list[FunctionCallOutput]:
        """The answers to a response's calls, in their order, as its successor was given them.

        Servers use ids again, for calls of later responses and within one; so they are paired by position, too. An
        answer that is not where it should be is looked for everywhere.
        """
        given = self.answers.get(next_id, [])
        newest = given[-len(calls) :] if calls else []
        elsewhere = [item for answers in self.answers.values() for item in answers]
        found = []
        for call in calls:
            for place in (newest, elsewhere):
                answer = next((item for item in place if item.call_id == call.call_id), None)
                if answer is not None:
                    place.remove(answer)
                    found.append(answer)
                    break
        return found
