"""The checks of a create request that its types cannot express: items, tools, strict schemas."""

import base64
import re

from durable_responses.emulator.objects.api_errors import invalid, wrong_type
from durable_responses.emulator.objects.request_bodies import CreateBody, Item, input_items, is_trigger, parse
from durable_responses.emulator.objects.schema_checks import SchemaRules
from durable_responses.responses_api.models import ReasoningEffort

INPUT_ITEM_TYPES = frozenset(
    {
        "message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
        "item_reference", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
        "computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call",
        "shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request",
        "mcp_approval_response", "mcp_call", "tool_search_call", "tool_search_output", "compaction",
        "compaction_trigger", "program", "program_output", "additional_tools",
    }
)  # fmt: skip
INCOMING_ROLES = frozenset({"user", "assistant", "system", "developer"})
REQUIRED_IN_ITEM: dict[str, dict[str, type | tuple[type, ...]]] = {
    "item_reference": {"id": str},
    "message": {"content": (str, list)},
    "function_call": {"call_id": str, "name": str, "arguments": str},
    "custom_tool_call": {"call_id": str, "name": str, "input": str},
    "function_call_output": {"call_id": str, "output": (str, list)},
    "custom_tool_call_output": {"call_id": str, "output": (str, list)},
    "compaction": {"encrypted_content": str},
    "mcp_approval_response": {"approval_request_id": str, "approve": bool},
}
PARTS_OF_OUTPUTS = ("input_text", "input_image", "input_file")
DATA_URL = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,")
BEGINNINGS_OF_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_CALLED = "allowed_callers async defer_loading description"
FIELDS_OF_TOOLS: dict[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "function": f"name parameters strict output_schema {_CALLED}",
        "custom": f"name format {_CALLED}",
        "file_search": "vector_store_ids filters max_num_results ranking_options",
        "web_search": "external_web_access filters search_content_types search_context_size user_location",
        "web_search_preview": "search_content_types search_context_size user_location",
        "code_interpreter": "container allowed_callers",
        "image_generation": "action background complexity frame_count frame_duration_ms input_fidelity "
        "input_image_mask model moderation output_compression output_format partial_images quality size svg",
        "mcp": "server_label server_url connector_id tunnel_id allowed_callers allowed_tools authorization "
        "defer_loading headers require_approval server_description",
        "computer": "",
        "computer_use_preview": "display_height display_width environment",
        "local_shell": "",
        "shell": "allowed_callers environment",
        "apply_patch": "allowed_callers",
        "namespace": "name description tools",
        "tool_search": "description execution parameters",
        "programmatic_tool_calling": "",
    }.items()
}
REQUIRED_IN_TOOL: dict[str, tuple[str, ...]] = {
    "custom": ("name",),
    "file_search": ("vector_store_ids",),
    "code_interpreter": ("container",),
    "mcp": ("server_label",),
    "computer_use_preview": ("display_height", "display_width", "environment"),
    "namespace": ("name", "tools"),
}
WHERE_AN_MCP_SERVER_IS = ("server_url", "connector_id", "tunnel_id")
DATED = re.compile(r"_\d{4}_\d{2}_\d{2}$")
CLIENTS_TOOLS = frozenset({"function", "custom"})
FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

EFFORTLESS_MODEL_PREFIX = "plain-"
THINKS_WHEN_ASKED = re.compile(r"gpt-(?:5\.[1-9]|[6-9])(?!.*-pro)")  # the effort of these is none if none is given
STANDARD_TIERS = (None, "auto", "default")
FLEXLESS_MODEL_PREFIX = "gpt-6.2"
NOT_WITH_MINIMAL_EFFORT = frozenset({"web_search", "web_search_preview", "code_interpreter", "image_generation"})


def parse_create(body: bytes) -> CreateBody:
    """The create request in a body. Raises: ApiError 400 that names the parameter."""
    request = parse(CreateBody, body)
    check(request)
    return request


def check(request: CreateBody) -> None:
    """What a schema cannot say. Raises: ApiError 400."""
    if not request.model.strip():
        raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    if request.conversation is not None:
        raise invalid("Conversations are not offered by this server.", "conversation", "unsupported_parameter")
    if request.prompt is not None:
        raise invalid("Stored prompts are not offered by this server.", "prompt", "unsupported_parameter")
    check_items(input_items(request.input))
    for index, tool in enumerate(request.tools or []):
        _check_tool(tool, f"tools[{index}]")
    _check_tool_choice(request)
    _check_format(request)
    _check_together(request)


def check_items(items: list[Item]) -> None:
    """What input items must hold. Raises: ApiError 400."""
    for index, item in enumerate(items):
        _check_item(item, f"input[{index}]")
        if is_trigger(item) and index < len(items) - 1:
            message = "A 'compaction_trigger' item must be the last item of 'input'."
            raise invalid(message, f"input[{index}]", "invalid_value")


def check_verified(request: CreateBody) -> None:
    """What an organisation that has not been verified may not ask for. Raises: ApiError 400."""
    ask = "Your organization must be verified to {}. Please go to the settings of your organization to be verified."
    if request.wants_summary:
        raise invalid(ask.format("generate reasoning summaries"), "reasoning.summary", "unsupported_value")
    if request.stream:
        raise invalid(ask.format("stream this model"), "stream", "unsupported_value")


def _check_together(request: CreateBody) -> None:
    """What does not go together."""
    if request.background and not request.is_stored:
        raise invalid("Background mode requires 'store' to be true.", "store", "invalid_value")
    if request.background_options is not None:
        _check_window(request, request.background_options.completion_window)
    hosted = [tool["type"] for tool in request.tools or [] if tool["type"] in NOT_WITH_MINIMAL_EFFORT]
    if hosted and request.effort is ReasoningEffort.MINIMAL:
        names = ", ".join(hosted)
        raise invalid(f"The following tools cannot be used with reasoning.effort 'minimal': {names}.", "tools")


def _check_window(request: CreateBody, window: str | None) -> None:
    """The rules of `completion_window`."""
    param = "background_options.completion_window"
    if not request.background:
        raise invalid("'background_options' requires 'background' to be true.", "background_options", "invalid_value")
    if window not in ("2h", "8h"):
        return
    if request.stream:
        raise invalid(f"'{param}' of '{window}' cannot be used with 'stream'.", param, "invalid_value")
    if request.service_tier not in STANDARD_TIERS:
        message = f"'{param}' of '{window}' cannot be used with service_tier '{request.service_tier}'."
        raise invalid(message, param, "invalid_value")


def check_model(request: CreateBody) -> None:
    """What a model cannot do: one that reasons, and one that does not. Raises: ApiError 400."""
    if request.service_tier == "flex" and request.model.startswith(FLEXLESS_MODEL_PREFIX):
        raise invalid("Flex processing is not available for this model.", "service_tier", "invalid_value")
    if not request.model.startswith(EFFORTLESS_MODEL_PREFIX):
        thinks = request.effort is not ReasoningEffort.NONE
        if request.reasoning is None or request.reasoning.effort is None:
            thinks = THINKS_WHEN_ASKED.match(request.model) is None
        for name in ("temperature", "top_p"):
            if getattr(request, name) is not None and thinks:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                raise invalid(message, name, "unsupported_parameter")
        return
    if request.reasoning is not None and (request.reasoning.effort or request.wants_summary):
        name = "reasoning.effort" if request.reasoning.effort else "reasoning.summary"
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        raise invalid(message, name, "unsupported_parameter")
    if request.text is not None and request.text.verbosity not in (None, "medium"):
        message = (
            f"Unsupported value: '{request.text.verbosity}' is not supported with the '{request.model}' model. "
            "Supported values are: 'medium'."
        )
        raise invalid(message, "text.verbosity", "unsupported_value")


def _check_format(request: CreateBody) -> None:
    form = request.text.format if request.text else None
    if form is None:
        return
    if "type" not in form.model_fields_set:
        raise invalid(
            "Missing required parameter: 'text.format.type'.", "text.format.type", "missing_required_parameter"
        )
    if form.type != "json_schema":
        if others := sorted(form.model_dump(by_alias=True, exclude_unset=True).keys() - {"type"}):
            param = f"text.format.{others[0]}"
            raise invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
        return
    for name, value in (("name", form.name), ("schema", form.json_schema)):
        if value is None:
            param = f"text.format.{name}"
            raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    rules = SchemaRules(
        f"response_format '{form.name}'", "text.format.schema", "invalid_json_schema", bool(form.strict)
    )
    rules.check_root(form.json_schema)


def _check_item(item: Item, param: str) -> None:
    kind = item.get("type", "item_reference")
    if kind not in INPUT_ITEM_TYPES:
        supported = ", ".join(repr(known) for known in sorted(INPUT_ITEM_TYPES))
        raise invalid(f"Invalid value: '{kind}'. Supported values are: {supported}.", f"{param}.type", "invalid_value")
    if kind == "message" and item.get("role") not in INCOMING_ROLES:
        raise invalid(f"Invalid value for '{param}.role'.", f"{param}.role", "invalid_value")
    for name, types in REQUIRED_IN_ITEM.get(kind, {}).items():
        if name not in item:
            message = f"Missing required parameter: '{param}.{name}'."
            raise invalid(message, f"{param}.{name}", "missing_required_parameter")
        if not isinstance(item[name], types):
            expected = "an array" if types is list else "a boolean" if types is bool else "a string"
            raise wrong_type(f"{param}.{name}", expected, item[name])
    if kind in ("function_call_output", "custom_tool_call_output") and isinstance(item["output"], list):
        for index, part in enumerate(item["output"]):
            _check_part(part, f"{param}.output[{index}]")


def _check_part(part: object, param: str) -> None:
    """What an answer to a call may hold beside text: images and files."""
    if not isinstance(part, dict):
        raise wrong_type(param, "an object", part)
    if part.get("type") not in PARTS_OF_OUTPUTS:
        supported = ", ".join(map(repr, PARTS_OF_OUTPUTS))
        message = f"Invalid value: '{part.get('type')}'. Supported values are: {supported}."
        raise invalid(message, f"{param}.type", "invalid_value")
    if part["type"] == "input_text" and not isinstance(part.get("text"), str):
        raise invalid(f"Missing required parameter: '{param}.text'.", f"{param}.text", "missing_required_parameter")
    if part["type"] == "input_image" and part.get("file_id") is None:
        _check_image(part.get("image_url"), f"{param}.image_url")


def _check_image(url: object, param: str) -> None:
    if not isinstance(url, str):
        raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    if url.startswith(("https://", "http://")):
        return
    found = DATA_URL.match(url)
    if found is None:
        message = f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format."
        raise invalid(message, param, "invalid_value")
    try:
        data = base64.b64decode(url[found.end() :], validate=True)
    except ValueError:
        message = f"Invalid '{param}'. Expected a base64-encoded data URL with an image MIME type."
        raise invalid(message, param, "invalid_value") from None
    if not data.startswith(BEGINNINGS_OF_IMAGES):
        message = "The image data you provided does not represent a valid image. Please check your input and try again."
        raise invalid(message, param, "invalid_image")


def _check_tool_choice(request: CreateBody) -> None:
    choice = request.tool_choice
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise invalid(f"Invalid value: '{choice}' for 'tool_choice'.", "tool_choice", "invalid_value")
    if choice == "required" and not request.tools:
        raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    if not isinstance(choice, dict):
        return
    named = [choice]
    if choice.get("type") == "allowed_tools":
        if choice.get("mode") not in ("auto", "required"):
            raise invalid("Invalid value for 'tool_choice.mode'.", "tool_choice.mode", "invalid_value")
        named = choice["tools"] if isinstance(choice.get("tools"), list) else []
        if not named:
            raise invalid(
                "Missing required parameter: 'tool_choice.tools'.", "tool_choice.tools", "missing_required_parameter"
            )
    for one in named:
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            raise invalid(
                "Missing required parameter: 'tool_choice.type'.", "tool_choice", "missing_required_parameter"
            )
        if one["type"] in CLIENTS_TOOLS and not isinstance(one.get("name"), str):
            message = "Missing required parameter: 'tool_choice.name'."
            raise invalid(message, "tool_choice.name", "missing_required_parameter")
        if not any(is_named(member, one) for tool in request.tools or [] for member in members(tool)):
            name = one.get("name", one["type"])
            raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def members(tool: Item) -> list[Item]:
    """The tools that a tool stands for: those of a namespace, each with the name of it, else itself."""
    inner = tool.get("tools")
    if tool.get("type") != "namespace" or not isinstance(inner, list):
        return [tool]
    return [{**member, "namespace": tool.get("name")} for member in inner if "type" in member]


def is_named(tool: Item, by: Item) -> bool:
    """Whether an offered tool is the one that a `tool_choice` names: by its kind, and by its name where it has one."""
    name = "server_label" if tool["type"] == "mcp" else "name"
    named = tool["type"] in CLIENTS_TOOLS or name in by
    return bool(tool["type"] == by["type"] and (not named or tool.get(name) == by.get(name)))


def _check_fields_of_tool(tool: Item, param: str) -> None:
    kind = DATED.sub("", tool["type"])
    if kind not in FIELDS_OF_TOOLS:
        supported = ", ".join(repr(known) for known in sorted(FIELDS_OF_TOOLS))
        message = f"Invalid value: '{tool['type']}'. Supported values are: {supported}."
        raise invalid(message, f"{param}.type", "invalid_value")
    if unknown := sorted(tool.keys() - FIELDS_OF_TOOLS[kind] - {"type"}):
        raise invalid(f"Unknown parameter: '{param}.{unknown[0]}'.", f"{param}.{unknown[0]}", "unknown_parameter")
    missing = [name for name in REQUIRED_IN_TOOL.get(kind, ()) if tool.get(name) is None]
    if kind == "mcp" and not any(tool.get(name) for name in WHERE_AN_MCP_SERVER_IS):
        missing.append("server_url")
    if missing:
        message = f"Missing required parameter: '{param}.{missing[0]}'."
        raise invalid(message, f"{param}.{missing[0]}", "missing_required_parameter")
    if kind == "file_search" and not tool["vector_store_ids"]:
        message = f"Invalid '{param}.vector_store_ids': empty array. Expected an array with minimum length 1."
        raise invalid(message, f"{param}.vector_store_ids", "empty_array")


def _check_tool(tool: Item, param: str) -> None:
    if not isinstance(tool.get("type"), str):
        raise invalid(f"Missing required parameter: '{param}.type'.", f"{param}.type", "missing_required_parameter")
    _check_fields_of_tool(tool, param)
    if tool["type"] != "function":
        return
    name = tool.get("name")
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        raise invalid(f"Invalid '{param}.name': expected 1 to 64 of a-z, A-Z, 0-9, '_', '-'.", f"{param}.name")
    if tool.get("strict"):
        rules = SchemaRules(f"function '{name}'", f"{param}.parameters", "invalid_function_parameters", strict=True)
        rules.check(tool.get("parameters") or {"type": "object"})
