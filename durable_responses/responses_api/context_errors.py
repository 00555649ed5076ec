"""How servers say that a conversation is longer than the model's context window. Plain Python, no I/O."""

import re

_CODE_OF_OPENAI = "context_length_exceeded"
_SENTENCE_OF_OPENAI = re.compile(
    r"exceeds? the (?:model's )?context (?:window|length)|maximum context length|context length exceeded"
    r"|exceeds? the available context size",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"context_(?:length|window)_exceeded|exceeds?_context|contextwindowexceeded|model_max_prompt_tokens_exceeded"
    r"|tokens_limit_reached|prompt_too_long|input_too_long",
    re.IGNORECASE,
)
# Servers have words of their own for it, often those of the model's vendor, passed on by a gateway.
_SENTENCE = re.compile(
    r"(?:exceed(?:s|ed|ing)?|overflow(?:s|ed)?|(?:long|larg|great)er than|too (?:long|large) for)\W+(?:\w+\W+){0,4}?"
    r"(?:context (?:window|length|size|limit)|model length|prompt length|input length|token limit)"
    r"|maximum (?:context|prompt) length|context (?:window|length|size)(?: limit)? (?:is )?(?:exceed|overflow)"
    r"|context length of only|context the overflows"
    r"|(?:prompt|input|conversation|request) (?:is|was) too (?:long|large)\b|\bprompt too long"
    r"|(?:input|prompt|total) tokens?(?: count)?\W[^.]{0,80}exceeds? the (?:maximum|limit|model)"
    r"|(?:input|prompt) length\W[^.]{0,80}exceeds? the maximum|too many (?:input |prompt )?tokens\b"
    r"|`inputs` tokens \+ `max_new_tokens`|request body too large for .* model",
    re.IGNORECASE,
)
_OTHER_CODE = re.compile(
    r"(?:prompt|input|context)_(?:too_long|overflow)|(?:prompt|input)_(?:length|tokens?|size)_(?:limit_)?exceeded",
    re.IGNORECASE,
)
_OTHER_SENTENCE = re.compile(
    r"context (?:window|length|size)(?: limit)? (?:was |has been )exceed"
    r"|\b(?:tokens?|length|prompt|input|content)\b[^.]{0,80}"
    r"\b(?:exceeds?|(?:more|great(?:er)?|long(?:er)?|larg(?:er)?) than)\b[^.]{0,40}"
    r"(?:model(?:'s)? (?:limit|len)|configured limit|\bmax(?:imum)? (?:model|input|sequence|message|prompt|length)"
    r"|maximum of [\d,]+$|maximum number of (?:input |prompt )?tokens)"
    r"|reduce the length of (?:the|your) (?:messages?|prompt|input|conversation)|range of input length"
    r"|only supports? up to [\d,]+ tokens|messages? (?:you submitted )?(?:is |was |are |were )?too long"
    r"|超[过出].{0,24}上下文|上下文.{0,12}超|输入.{0,12}(?:过长|超长)",
    re.IGNORECASE,
)
_OF_SOMETHING_ELSE = re.compile(
    r"(?:for the|this) (?:minute|hour|day|month)|\bstring\b|\bcharacters\b|\b[KM]B\b"
    r"|max_(?:output|completion)_tokens|(?:output|completion) tokens|\bmetadata\b",
    re.IGNORECASE,
)
_OF_A_RATE = re.compile(r"per (?:minute|min|hour|day|second)|rate[_ -]limit|quota|\bTPM\b", re.IGNORECASE)


def exceeds_window_by_its_name(code: str | None, message: str | None) -> bool:
    """Whether a refusal says so with OpenAI's code, or in words that many servers share."""
    return code == _CODE_OF_OPENAI or _SENTENCE_OF_OPENAI.search(message or "") is not None


def is_too_long(code: str | None, message: str | None) -> bool:
    """Whether a refusal says so in any words that are known."""
    return exceeds_window(code, message) or exceeds_window_in_other_words(code, message)


def exceeds_window_in_other_words(code: str | None, message: str | None) -> bool:
    """As `exceeds_window`, in words that were learned later: histories in which they mean nothing must replay."""
    said = message or ""
    if exceeds_window(code, message) or _OF_A_RATE.search(said) or _OF_SOMETHING_ELSE.search(said):
        return False
    return any(map(_OTHER_CODE.search, (code or "", said))) or any(
        pattern.search(said) is not None for pattern in (_OTHER_SENTENCE, _CODE)
    )


def exceeds_window(code: str | None, message: str | None) -> bool:
    """Whether a refusal says that the conversation is longer than the model's window. Either of the two may tell."""
    if exceeds_window_by_its_name(code, message) or _CODE.search(code or ""):
        return True
    said = message or ""
    return _SENTENCE.search(said) is not None and _OF_A_RATE.search(said) is None
