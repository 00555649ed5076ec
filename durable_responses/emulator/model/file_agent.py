"""The default scenario: an agent that uses the file tools it is offered, and answers from what they returned.

It lists the files, reads the most promising ones side by side, searches for a word of the task, writes a report when
the task asks for one, and then says what it found. Any tools will do: their names and parameters say what they are for.
Every other tool that is offered is called once, with arguments made from its schema, so that one sees it work; not
those whose names say that they change, send or fetch something, unless the task names them.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_responses.emulator.model.conversation import Conversation
from durable_responses.emulator.model.file_answers import Library, joined
from durable_responses.emulator.model.scenarios import Parameters
from durable_responses.emulator.model.script import Citation, FunctionCallStep, Script, Step, Text, WebSearchStep
from durable_responses.emulator.objects.json_values import arguments_for
from durable_responses.emulator.objects.request_bodies import Item
from durable_responses.responses_api.models import ReasoningEffort

SECONDS_OF_THOUGHT = {
    ReasoningEffort.NONE: 0.1,
    ReasoningEffort.MINIMAL: 0.2,
    ReasoningEffort.LOW: 0.3,
    ReasoningEffort.MEDIUM: 0.5,
    ReasoningEffort.HIGH: 0.8,
    ReasoningEffort.XHIGH: 1.2,
    ReasoningEffort.MAX: 2.0,
}
MOST_FILES_READ = 8
REPORT_PATH = "report.md"
MOST_WORDS_NAMED = 5
MOST_TOOLS_NAMED = 20

_PATH_NAMES = ("path", "file_path", "filename", "file", "folder", "directory")
_QUERY_NAMES = ("query", "text", "regex", "needle", "word", "pattern")
_CONTENT_NAMES = ("content", "contents", "text", "data")
_VERBS = {
    "list": {"list", "ls", "dir"},
    "read": {"read", "open", "cat"},
    "search": {"search", "grep", "find"},
    "write": {"write", "save"},
}
_PATH = re.compile(r"(?<![\w:/.-])(?:[\w-][\w.-]*/)*[\w-][\w.-]*\.[A-Za-z]\w{0,7}(?![\w/])")
_NOT_TEXT = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".zip", ".gz", ".pyc", ".db", ".ico")
# "Write a haiku" does not: what is written are findings.
_WANTS_REPORT = re.compile(
    r"\b(report|save|summary file|write (it|them|this|that|what|down|up|your)\b|write\b.*\.[a-z]{1,8}\b)", re.IGNORECASE
)
# A tool whose name begins or ends with one of these does more than look: it is not called merely because it is there.
_ACTS = re.compile(
    "add|apply|approve|bash|book|buy|cancel|clear|close|commit|copy|create|delete|deploy|do|drop|edit|exec|execute|fetch"
    "|input|insert|install|kill|mail|merge|modify|move|order|patch|pay|post|publish|purge|push|put|remove|rename|reset"
    "|restart|run|save|send|set|shell|shutdown|sign|spawn|start|stop|submit|terminate|transfer|trigger|update|upload"
    "|write"
)
MOST_CALLS_AT_ONCE = 8
_ASKS_OWNER = "ask_owner"
NO_MODEL = (
    "No model has read this: the emulator wrote it, without a model. "
    "Set `OPENAI_API_KEY` (or `OPENAI_BASE_URL`) to ask a real one."
)
_COMMON_WORDS = re.compile(
    "about|after|answer|every|files|folder|found|other|please|report|search|summari[sz]e"
    "|their|there|these|those|which|where|while|workspace|would|write"
)


def agent(conversation: Conversation, _: Parameters) -> Script:
    """The next response: more calls, or the answer."""
    hands = Hands.of(conversation.functions)
    found = Findings.of(conversation, hands)
    thought, calls = _next_calls(conversation, hands, found)
    think = SECONDS_OF_THOUGHT[conversation.request.effort]
    if calls:
        return Script(think=think, summary=[thought], output=calls)
    text = "\n\n".join([report(conversation.task, found), *_not_called(hands, found)])
    summary = "**Putting it together**\n\nI have seen enough; now I say what the files hold."
    # JSON may have no room for the line; a reasoning summary, where it is asked for, has.
    summary += f"\n\n{NO_MODEL}" if conversation.wants_json else ""
    return Script(think=think, summary=[summary], output=_answer(conversation, text))


@dataclass(frozen=True)
class Hands:
    """The offered functions by what they are good for; None where none is."""

    schemas: Mapping[str, dict[str, Any]]
    list: str | None = None
    read: str | None = None
    search: str | None = None
    write: str | None = None

    @classmethod
    def of(cls, functions: Mapping[str, dict[str, Any]]) -> "Hands":
        """Recognise them by the words of their names and by having a path (or a query) among their parameters."""
        found: dict[str, str] = {}
        for name, schema in functions.items():
            words = set(_name_words(name))
            names = set(_properties(schema))
            for verb, verbs in _VERBS.items():
                wanted = _QUERY_NAMES if verb == "search" else _PATH_NAMES
                if words & verbs and "url" not in names and names & set(wanted):
                    found.setdefault(verb, name)
        return cls(functions, **found)

    @property
    def others(self) -> Sequence[str]:
        """Functions that are good for something else and only look, by their names and parameters."""
        return [name for name in self._not_for_files if not _does_more_than_look(name, self.schemas[name])]

    @property
    def left_alone(self) -> Sequence[str]:
        """Functions that do more than look."""
        return [name for name in self._not_for_files if _does_more_than_look(name, self.schemas[name])]

    @property
    def _not_for_files(self) -> Sequence[str]:
        # What asks the owner is called in need only, and no model knows of one here.
        files = {self.list, self.read, self.search, self.write, _ASKS_OWNER}
        return [name for name in self.schemas if name not in files]

    def call(self, name: str | None, **hints: Any) -> Step:
        """A call of a function with arguments that fit its schema. Hints: path, query, content, url."""
        assert name is not None
        schema = self.schemas[name]
        spread = dict(hints)
        for hint, names in (("path", _PATH_NAMES), ("query", _QUERY_NAMES), ("content", _CONTENT_NAMES)):
            parameter = next((known for known in names if known in _properties(schema)), None)
            if hint in hints and parameter is not None:
                spread[parameter] = hints[hint]
        return FunctionCallStep(name=name, arguments=arguments_for(schema, spread))


@dataclass
class Findings:
    """What the answered calls have shown."""

    listed: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    searches: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    called: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, conversation: Conversation, hands: Hands) -> "Findings":
        """Sort the answers by the function that gave them."""
        found = cls()
        for call, output in conversation.answered_calls:
            name = call["name"]
            found.called[name] += 1
            if name != hands.read and output.lower().startswith("error"):
                found.others.append((name, output))
            elif name == hands.list:
                found.listed += [path for path in _PATH.findall(output) if path not in found.listed]
            elif name == hands.read:
                found.texts[_argument(call, _PATH_NAMES)] = output
            elif name == hands.search:
                found.searches[_argument(call, _QUERY_NAMES)] = output
            elif name == hands.write:
                found.written.append(_argument(call, _PATH_NAMES))
            else:
                found.others.append((name, output))
        return found

    @property
    def readable(self) -> dict[str, str]:
        """The texts of the files that could be read."""
        return {path: text for path, text in self.texts.items() if not text.lower().startswith("error")}

    def worth_reading(self, task: str) -> list[str]:
        """Text files not read yet, those that the task speaks of first."""
        words = set(_words(task))
        paths = [path for path in self.listed if path not in self.texts and not path.endswith(_NOT_TEXT)]
        return sorted(paths, key=lambda path: (not words & set(_words(path)), "readme" not in path.lower()))


def _next_calls(conversation: Conversation, hands: Hands, found: Findings) -> tuple[str, list[Step]]:
    """What to do next and why; no calls when there is nothing left to find out."""
    task = conversation.task
    if hands.list and not found.called[hands.list]:
        # The other tools beside it: a run of little effort has few iterations.
        beside = [hands.call(name) for name in hands.others[: MOST_CALLS_AT_ONCE - 1]]
        thought = "**Looking around**\n\nFirst I need to know which files there are."
        return thought, [hands.call(hands.list, path="."), *beside]
    if hands.read and not found.called[hands.read] and (paths := found.worth_reading(task)[:MOST_FILES_READ]):
        thought = f"**Reading**\n\nOf {len(found.listed)} files I read {len(paths)} side by side."
        return thought, [hands.call(hands.read, path=path) for path in paths]
    if hands.search and found.texts and not found.called[hands.search] and (word := _word_to_search(task, found)):
        thought = f"**Searching**\n\nWhere else does “{word}” occur?"
        return thought, [hands.call(hands.search, query=word, path=".")]
    if hands.write and found.texts and not found.called[hands.write] and _WANTS_REPORT.search(task):
        text = report(task, found)
        return "**Writing the report**\n\nThe task asks for it.", [
            hands.call(hands.write, path=_report_path(task, found), content=text)
        ]
    if name := next((name for name in hands.schemas if name in task and not found.called[name]), None):
        url = re.search(r"https?://\S+", task)
        thought = f"**Using {name}**\n\nThe task asks for it by name."
        return thought, [hands.call(name, **({"url": url.group()} if url else {}))]
    if others := [name for name in hands.others if not found.called[name]][:MOST_CALLS_AT_ONCE]:
        thought = "**Trying the other tools**\n\nEach is called once, with arguments made from its schema."
        return thought, [hands.call(name) for name in others]
    return "", []


def _report_path(task: str, found: Findings) -> str:
    """The new file that the task names, if it names one."""
    return next((path for path in _PATH.findall(task) if path not in found.listed), REPORT_PATH)


def _answer(conversation: Conversation, text: str) -> list[Step]:
    tools = conversation.request.tools or []
    if not any(str(tool.get("type")).startswith("web_search") for tool in tools):
        return [Text(text=f"{text}\n\n{NO_MODEL}", phase="final_answer")]
    query = " ".join(_words(conversation.task)[:6])
    url = "https://example.com/emulated-search"
    quote = f"An emulated web search for “{query}” found one page."
    cited = Text(
        text=f"{text}\n\n{quote}\n\n{NO_MODEL}",
        citations=[Citation(url=url, title="An emulated page", quote=quote)],
        phase="final_answer",
    )
    return [WebSearchStep(query=query, sources=[url]), cited]


# --- what is said ------------------------------------------------------------------------------------------------


def report(task: str, found: Findings) -> str:
    """The answer, as Markdown: everything in it comes from the task and from what the tools returned."""
    if not found.called:
        return f"You asked: {_first_line(task)}\n\nI had no tools to look into it, so this is all I can say."
    parts = _answered(task, found)
    if found.listed:
        parts.append(_about_list(len(found.listed), len(found.texts)))
    unread = {path: text for path, text in found.texts.items() if path not in found.readable}
    parts += [f"`{path}` could not be read ({_first_line(text)})." for path, text in unread.items()]
    parts += [_about_search(word, output) for word, output in found.searches.items()]
    parts += [f"The report is in `{path}`." for path in found.written]
    parts += [f"`{name}` returned: {_first_line(output)}" for name, output in found.others]
    if found.others:
        parts.append("The arguments of these calls were made from the schemas of the tools.")
    return "\n\n".join(parts)


def _not_called(hands: Hands, found: Findings) -> list[str]:
    """The tools that were offered and not called, and how they are."""
    names = [f"`{name}`" for name in hands.left_alone if not found.called[name]][:MOST_TOOLS_NAMED]
    if not names:
        return []
    say = "whose name says that it does" if len(names) == 1 else "whose names say that they do"
    return [f"Not called: {joined(names)}, {say} more than look. Name a tool in the task, and it is called."]


def _answered(task: str, found: Findings) -> list[str]:
    """What the files say to the task; where they say nothing, that, and what there is in them."""
    library = Library(found.readable, found.listed)
    if answer := library.answer(task):
        return [answer]
    asked = f"You asked: {_first_line(task)}"
    if not found.readable:
        return [asked]
    unknown = joined([f"“{word}”" for word in library.unknown(task)[:MOST_WORDS_NAMED]], "or")
    files = (
        "The file that I read says nothing"
        if len(found.readable) == 1
        else "None of the files that I read says anything"
    )
    says = f"{files} about {unknown}." if unknown else "No sentence that I read answers this."
    return [asked, says, "\n".join(_about(path, text) for path, text in found.readable.items())]


def _about_list(listed: int, read: int) -> str:
    if listed == 1:
        return "There is one file; I read it." if read else "There is one file."
    return f"There are {listed} files; I read {'all' if read == listed else read} of them."


def _about(path: str, text: str) -> str:
    heading = _first_line(text).lstrip("# ") or "empty"
    shape = f"{_counted(len(text.split()), 'word')} in {_counted(len(text.splitlines()), 'line')}"
    return f"- `{path}` ({shape}): **{heading[:80]}**"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _about_search(word: str, output: str) -> str:
    lines = [line for line in output.splitlines() if word.lower() in line.lower()]
    if not lines:
        return f"“{word}” occurs nowhere else."
    where = "one line" if len(lines) == 1 else f"{len(lines)} lines, first here"
    return f"“{word}” occurs in {where}: {lines[0].strip()[:140]}"


def _word_to_search(task: str, found: Findings) -> str | None:
    """The longest word of the task that the files use, else the longest of a heading."""
    known = " ".join(found.texts.values()).lower()
    words = [word for word in _words(task) if word in known]
    words = words or [word for text in found.texts.values() for word in _words(_first_line(text))]
    return max(words, key=len, default=None)


def _name_words(name: str) -> list[str]:
    """The words of a name, in snake case, kebab case or camel case."""
    return re.split(r"[_\W]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _does_more_than_look(name: str, schema: dict[str, Any]) -> bool:
    properties = _properties(schema)
    if "url" in properties:
        return True
    # `add(a, b)` only calculates.
    numbers = [isinstance(part, dict) and part.get("type") in ("integer", "number") for part in properties.values()]
    words = _name_words(name)
    return bool(_ACTS.fullmatch(words[0]) or _ACTS.fullmatch(words[-1])) and not (numbers and all(numbers))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]{5,}", text.lower()) if not _COMMON_WORDS.fullmatch(word)]


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:300]


def _argument(call: Item, names: tuple[str, ...]) -> str:
    try:
        arguments = json.loads(call.get("arguments", "{}"))
    except ValueError:
        return ""
    return next((str(arguments[name]) for name in names if arguments.get(name)), "")
