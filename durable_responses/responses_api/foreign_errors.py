"""Errors in the words of those who do not have the API's: web frameworks, gateways, resellers. Plain Python on JSON."""

from typing import Any

from durable_responses.responses_api.models import ErrorDetail, read_json

LONGEST_SENTENCE = 300
"""Characters of a sentence in other words than the API's."""


def error_in(value: Any) -> ErrorDetail | None:
    """The error in a JSON value, wherever in it the sentence stands; None where there is none."""
    return _told(value)


def error_in_body(body: bytes) -> ErrorDetail | None:
    """The same for the JSON text of an answer that is an error; None for any other text."""
    try:
        return _told(read_json(body))
    except ValueError:
        return None


def error_instead(fields: dict[str, Any]) -> ErrorDetail | None:
    """The error in an object that is nothing but an error, although nothing around it says so."""
    if any(fields.get(name) is not None for name in _OF_ANSWERS):
        return None
    if fields.get("object") == "error":
        return _told(fields)
    if fields.get("success") is False or fields.get("errors"):
        return _told(fields)
    places = (fields, *(part for part in fields.values() if isinstance(part, dict)))
    return next((_told(place) for place in places if _has_number_of_an_error(place)), None)


def _has_number_of_an_error(fields: dict[str, Any]) -> bool:
    return any(fields.get(name) not in _NUMBERS_OF_SUCCESS for name in _NUMBERS_OF_ERRORS)


_OF_ANSWERS = {"output", "choices", "delta", "item", "response", "text", "content", "data", "result"}
_NUMBERS_OF_ERRORS = ("code", "status_code", "statusCode", "error_code", "errcode")
_NUMBERS_OF_SUCCESS = (None, "", 0, "0", 200, "200", "ok", "OK", "success")
_NAMES_OF_ERRORS = ("error", "errors", "Error", "fault", "exception", "detail")
_NAMES_OF_SENTENCES = (
    *("message", "Message", "error_description", "errorMessage", "error_message", "error_msg", "msg"),
    *("faultstring", "description", "status_msg", "base_resp", "reason", "title"),
)
_DEEPEST_ERROR = 6
_MOST_PROBLEMS = 10


def _json_in(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return None


def _told(value: Any, depth: int = 0) -> ErrorDetail | None:
    """The error in a JSON value, with its sentence; several problems are told one after the other."""
    if depth > _DEEPEST_ERROR:
        return None
    match value:
        case str() if value.strip():
            inner = _told(_json_in(value), depth + 1) if value.lstrip()[0] == "{" else None
            return inner or ErrorDetail(message=value[:LONGEST_SENTENCE])
        case list():
            return _together([_told(each, depth + 1) for each in value[:_MOST_PROBLEMS]])
        case {"msg": str() as why, "loc": list() as loc}:  # FastAPI
            return _problem(_place(loc), why)
        case dict():
            return _told_by_name(value, depth)
        case _:
            return None


def _told_by_name(fields: dict[str, Any], depth: int) -> ErrorDetail | None:
    own = {
        name: str(fields[name])
        for name in ("code", "type", "param")
        if isinstance(fields.get(name), str | int) and not isinstance(fields[name], bool)
    }
    numbers = (fields.get(name) for name in _NUMBERS_OF_ERRORS)
    if (number := next((each for each in numbers if isinstance(each, int)), None)) is not None:
        own.setdefault("code", str(number))
    if isinstance(fields.get("__type"), str):  # AWS
        own["type"] = fields["__type"].rpartition("#")[2]
    if "://" in own.get("type", ""):  # RFC 9457: a page about errors of this kind
        del own["type"]
    match fields:
        case {"error": str() as code, "error_description": str() as sentence} if sentence.strip():  # OAuth
            return ErrorDetail(code=code, message=sentence[:LONGEST_SENTENCE])
        case {"errors": dict() as problems} if problems and all(isinstance(why, list) for why in problems.values()):
            title = next((fields[name] for name in ("title", "message") if isinstance(fields.get(name), str)), "")
            found = _together([_problem(name, _sentence_in(why)) for name, why in problems.items()])
            return found or ErrorDetail(message=title[:LONGEST_SENTENCE])  # ASP.NET, Laravel
    for name in (*_NAMES_OF_ERRORS, *_NAMES_OF_SENTENCES):
        if (found := _told(fields.get(name), depth + 1)) is not None:
            inner = {key: getattr(found, key) for key in ("code", "type", "param")}
            known = own | {key: said for key, said in inner.items() if said is not None}
            return ErrorDetail.model_validate({**known, "message": found.message})
    named = next((own[key] for key in ("code", "type") if not own.get(key, "0").isdigit()), None)
    return None if named is None else ErrorDetail.model_validate({**own, "message": named[:LONGEST_SENTENCE]})


def _sentence_in(value: Any) -> str:
    found = _told(value)
    return found.message if found else ""


def _problem(place: str, why: str) -> ErrorDetail:
    return ErrorDetail(message=f"{place}: {why}"[:LONGEST_SENTENCE], param=place or None)


def _together(found: list[ErrorDetail | None]) -> ErrorDetail | None:
    told = [each for each in found if each is not None]
    message = "; ".join(each.message for each in told)[:LONGEST_SENTENCE]
    return told[0].model_copy(update={"message": message}) if told else None


def _place(loc: Any) -> str:
    parts = [str(part) for part in loc] if isinstance(loc, list) else []
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts)
