"""Answers to questions about text files, in whole sentences: found by their words, not understood.

A Markdown file is taken apart into passages: sentences, list items, table rows. Those that share the most telling words
with the question are quoted, with the file named. Questions for what is open, or done, are answered from the boxes of
checklists and from entries that say so.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import groupby

MOST_QUOTED = 4
QUOTED_OF_A_BEGINNING = 3
MOST_OF_A_SECTION = 8
CLOSE_TO_THE_BEST = 0.62
LEAST_COVERED = 0.34
WEIGHT_OF_CONTEXT = 0.4
LONGEST_QUOTE = 400
LONGEST_QUESTION = 2000

_ASKS_FOR_OPEN = re.compile(
    r"\b(((is|are|what.s) (still |yet )?|still )(open|left|missing|pending|not done|to do)|unfinished|outstanding"
    r"|remain\w*|open (points?|items?|tickets?|tasks?|issues?|questions?|things?)|todos?|to do"
    r"|still (has|have|needs?) to|ready (to|for)|not (yet )?(done|finished))\b"
)
_ASKS_FOR_DONE = re.compile(r"\b(done|finished|completed?|closed|ticked)\b")
_ASKS_FOR_FILES = re.compile(r"\b(which|what|list|how many|name)\b[^.?!]{0,20}\b(files|folders|documents)\b")
_ASKS_FOR_ALL = re.compile(
    r"\b(summar\w+|overview|describe|compare|tell me about|what\W+s in|what is in|what does \S+ say)"
)
_TELLING = {
    "who": re.compile(r"(?<=[\s(])[A-Z][a-z]+"),
    "when": re.compile(
        r"\d|\b(January|February|March|April|May|June|July|August|September|October|November|December)\b"
    ),
    "how": re.compile(r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|once|twice)\b"),
    "why": re.compile(r"\b(because|cause|since|so that|forgotten|reason)\b", re.IGNORECASE),
    "where": re.compile(r"\b(in|to|on|at|under)\b"),
}
_ALIKE = {
    "ship": "releas", "launch": "releas", "bug": "fault", "problem": "fault", "error": "fault",
    "owner": "own", "responsibl": "own", "folder": "fold", "people": "own", "customer": "own", "user": "own",
}  # fmt: skip
_SAYS_LITTLE = frozenset(
    {
        "a", "about", "after", "all", "an", "and", "answer", "any", "are", "as", "at", "be", "been", "before", "being",
        "but", "by", "can", "compare", "could", "describe", "did", "do", "does", "done", "each", "every", "explain",
        "file", "files", "find", "for", "from", "get", "give", "had", "has", "have", "how", "i", "if", "in", "into",
        "is", "it", "its", "list", "look", "make", "many", "may", "me", "much", "must", "my", "name", "need", "no",
        "not", "note", "now", "of", "on", "or", "our", "out", "over", "overview", "please", "point", "points",
        "question", "read", "report", "say", "says", "shall", "she", "short", "should", "show", "so", "some", "still",
        "summarise", "summarize", "summary", "tell", "than", "that", "the", "their", "them", "then", "there", "these",
        "they", "this", "those", "to", "up", "us", "use", "was", "we", "were", "what", "when", "where", "which",
        "while", "who", "whom", "whose", "why", "will", "with", "workspace", "would", "write", "yes", "yet", "you",
        "your",
    }
)  # fmt: skip
_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(?:\[(?P<box>[ xX])\]\s+)?(?P<text>.*)")
_NO_TEXT = re.compile(r"\[(cut|stopped).*\]|```.*|[\s|:-]*")
_LABEL = re.compile(r"\*\*(?P<label>[^*]+)\*\*\s*(?P<rest>.*)")
_END_OF_SENTENCE = re.compile(r"(?<=[.!?])[\"”']?\s+(?=[A-Z0-9`\"“*(])")


class Kind(Enum):
    """What a passage is."""

    SENTENCE = "sentence"
    ITEM = "item"


@dataclass(frozen=True)
class Passage:
    """A piece of a file that can be quoted. `is_open`: what its box, or its entry, says; None if it has neither."""

    path: str
    heading: str
    kind: Kind
    text: str
    label: str = ""
    is_open: bool | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        """Its own words."""
        return frozenset(words_of(f"{self.label} {self.text}"))

    @cached_property
    def context(self) -> frozenset[str]:
        """Those of what it stands under."""
        return frozenset(words_of(f"{self.path.rpartition('.')[0]} {self.heading}"))

    @property
    def quote(self) -> str:
        """As it is quoted."""
        return self.text if len(self.text) <= LONGEST_QUOTE else f"{self.text[:LONGEST_QUOTE]}…"


@dataclass
class Library:
    """The files that were read, by path, and all that were listed.

    `known`: how many passages have a word, in themselves or in their context.
    """

    texts: Mapping[str, str]
    listed: Sequence[str] = ()
    passages: list[Passage] = field(init=False)
    known: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.passages = [passage for path, text in self.texts.items() for passage in passages_of(path, text)]
        self.known = Counter(word for passage in self.passages for word in passage.words | passage.context)

    def answer(self, question: str) -> str | None:
        """Whole sentences that answer the question; None if no passage has enough of its words."""
        question = question[:LONGEST_QUESTION]
        asked = question.lower()
        if _ASKS_FOR_FILES.search(asked):
            return _all_files(list(self.listed or self.texts))
        scope, question = self._named(question)
        if _ASKS_FOR_OPEN.search(asked) and (told := self._open(question, scope)):
            return told
        if _ASKS_FOR_DONE.search(asked) and (told := self._done(question, scope)):
            return told
        if _ASKS_FOR_ALL.search(asked) and (told := self._summary(question, scope)):
            return told
        return self._quoted(question, scope)

    def unknown(self, question: str) -> list[str]:
        """The telling words of the question that no passage has, as they were written."""
        telling = {word: words_of(word) for word in _split(question[:LONGEST_QUESTION].lower())}
        return [word for word, forms in telling.items() if forms and not self.known[forms[0]]]

    def _named(self, question: str) -> tuple[Sequence[Passage], str]:
        """The passages of the files or folders that a question names, else all; and its other words."""
        for names in ({path: path for path in self.texts}, {path: _folder_of(path) for path in self.texts}):
            named = {path: name for path, name in names.items() if name in question}
            if named:
                for name in named.values():
                    question = question.replace(name, " ")
                return [passage for passage in self.passages if passage.path in named], question
        return self.passages, question

    def _weight(self, word: str) -> float:
        return math.log(1 + len(self.passages) / (1 + self.known[word]))

    def _score(self, passage: Passage, wanted: Sequence[str]) -> float:
        own = sum(self._weight(word) for word in wanted if word in passage.words)
        return own + WEIGHT_OF_CONTEXT * sum(
            self._weight(word) for word in wanted if word in passage.context - passage.words
        )

    def _covered(self, found: frozenset[str] | set[str], wanted: Sequence[str]) -> float:
        """How much of the question some words are, from 0 to 1."""
        whole = sum(map(self._weight, wanted))
        return sum(self._weight(word) for word in wanted if word in found) / whole if whole else 0

    # --- questions of one kind -----------------------------------------------------------------------------------

    def _open(self, question: str, scope: Sequence[Passage]) -> str | None:
        wanted = [word for word in words_of(question) if word not in ("open", "left", "miss", "remain", "own")]
        groups = self._groups([passage for passage in scope if passage.is_open], wanted)
        return " ".join(_counted_points(group, "still open") for group in groups) or None

    def _done(self, question: str, scope: Sequence[Passage]) -> str | None:
        wanted = [word for word in words_of(question) if word not in ("clos", "finish", "complet", "own")]
        groups = self._groups([passage for passage in scope if passage.is_open is False], wanted)
        return " ".join(_counted_points(group, "done") for group in groups) or None

    def _groups(self, passages: Sequence[Passage], wanted: Sequence[str]) -> list[list[Passage]]:
        """By file and heading, the ones that the question is about; of each, the points that it is about."""
        groups = [list(group) for _, group in groupby(passages, key=lambda each: (each.path, each.heading))]
        covered = [self._covered(group[0].context.union(*(each.words for each in group)), wanted) for group in groups]
        if wanted and groups and not max(covered):
            return []
        best = max(covered, default=0)
        kept = [group for group, share in zip(groups, covered, strict=True) if share >= best * CLOSE_TO_THE_BEST]
        return [self._of_a_group(group, wanted) for group in kept]

    def _of_a_group(self, group: list[Passage], wanted: Sequence[str]) -> list[Passage]:
        """Those that have a word that their heading does not have, if the question has one: a name, for instance."""
        special = [word for word in wanted if word not in group[0].context]
        return [each for each in group if each.words & set(special)] or group

    def _summary(self, question: str, scope: Sequence[Passage]) -> str | None:
        wanted = words_of(question)
        paths = list(dict.fromkeys(passage.path for passage in scope))
        if len(scope) == len(self.passages) and wanted:
            context = {passage.path: passage.context for passage in scope}
            paths = [path for path in paths if self._covered(context[path], wanted) >= CLOSE_TO_THE_BEST]
        return " ".join(self._beginning(path) for path in paths[:MOST_OF_A_SECTION]) or None

    def _beginning(self, path: str) -> str:
        first = [passage for passage in self.passages if passage.path == path]
        texts = dict.fromkeys(passage.label or passage.quote for passage in first)
        quotes = " ".join(f"“{_closed(text)}”" for text in list(texts)[:QUOTED_OF_A_BEGINNING])
        about = f"`{path}` is about “{first[0].heading}”" if first[0].heading else f"`{path}` has no heading"
        return f"{about} and begins: {quotes}"

    def _quoted(self, question: str, scope: Sequence[Passage]) -> str | None:
        wanted = words_of(question)
        telling = next(
            (pattern for word, pattern in _TELLING.items() if re.search(rf"\b{word}\b", question.lower())), None
        )
        scores = {
            passage: self._score(passage, wanted) * (1.3 if telling and telling.search(passage.text) else 1)
            for passage in scope
        }
        ranked = sorted((passage for passage in scope if scores[passage]), key=lambda each: -scores[each])
        if not ranked or self._covered(ranked[0].words | ranked[0].context, wanted) < LEAST_COVERED:
            return None
        near = [passage for passage in ranked if scores[passage] >= CLOSE_TO_THE_BEST * scores[ranked[0]]]
        of_one_section = len({(passage.path, passage.heading) for passage in near}) == 1
        chosen = set(near[: MOST_OF_A_SECTION if of_one_section else MOST_QUOTED])
        in_order = [passage for passage in scope if passage in chosen]
        files = sorted(
            {each.path for each in in_order}, key=lambda path: -max(scores[p] for p in in_order if p.path == path)
        )
        return " ".join(_said_in(path, [each for each in in_order if each.path == path]) for path in files)


# --- taking a file apart -----------------------------------------------------------------------------------------


def passages_of(path: str, text: str) -> list[Passage]:
    """The passages of a file, in order."""
    found: list[Passage] = []
    heading = ""
    for block in _blocks(text):
        if block.startswith("#"):
            heading = block.lstrip("# ")
        elif item := _ITEM.fullmatch(block):
            text, box = _plain(item["text"]), item["box"]
            kind = Kind.SENTENCE if text.endswith((".", "!", "?")) else Kind.ITEM
            found.append(Passage(path, heading, kind, text, is_open=box == " " if box else None))
        elif block.startswith("|"):
            cells = [_plain(cell) for cell in block.strip("| ").split("|")]
            found += [Passage(path, heading, Kind.ITEM, ": ".join(filter(None, cells)))] if any(cells) else []
        else:
            found += _sentences(path, heading, block)
    return found


def _blocks(text: str) -> Iterator[str]:
    """Headings, list items, table rows and paragraphs, each on one line."""
    lines = [line for line in text.splitlines() if not line.strip() or not _NO_TEXT.fullmatch(line)]
    block: list[str] = []
    for line in [*lines, ""]:
        if not line.strip() or re.match(r"#|\s*([-*+]|\d+[.)])\s|\|", line):
            if block:
                yield " ".join(" ".join(block).split())
            block = []
        if line.startswith("#"):
            yield line.strip()
        elif line.strip():
            block.append(line.strip())


def _sentences(path: str, heading: str, block: str) -> list[Passage]:
    """Of a paragraph. One that begins in bold type is an entry of that name; it is open if a sentence of it says so."""
    entry = _LABEL.fullmatch(block)
    rest = _plain(entry["rest"] if entry else block)
    label = _plain(entry["label"]).rstrip(".:") if entry else ""
    if aside := re.match(r"(\([^)]*\))\.?\s*", rest) if entry else None:
        label, rest = f"{label} {aside[1]}", rest[aside.end() :]
    sentences = filter(None, _END_OF_SENTENCE.split(rest))
    return [Passage(path, heading, Kind.SENTENCE, each, label, _state_said(each, label)) for each in sentences]


def _state_said(sentence: str, label: str) -> bool | None:
    if re.match(r"(todo|left|open)\b:?" if label else r"(todo\b|left:|open:)", sentence, re.IGNORECASE):
        return True
    return False if label and re.match(r"(closed|done|fixed)\b", sentence, re.IGNORECASE) else None


def _plain(text: str) -> str:
    return " ".join(text.replace("**", "").split())


# --- words -------------------------------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    """The words that tell something, in their simplest forms, each once."""
    stems = (_stem(word) for word in _split(text.lower()) if word not in _SAYS_LITTLE)
    return list(dict.fromkeys(_ALIKE.get(stem, stem) for stem in stems))


def _split(text: str) -> list[str]:
    return re.findall(r"\w+(?:\.\d+)*", re.sub(r"['’]s\b", "", text).replace("_", " "))


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "ied", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word[0].isdigit():
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


def _folder_of(path: str) -> str:
    folder = path.rpartition("/")[0]
    return f"{folder}/" if folder else "no folder"


# --- whole sentences ---------------------------------------------------------------------------------------------


def number(count: int) -> str:
    """A number as it stands in a sentence."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def joined(parts: Sequence[str], word: str = "and") -> str:
    """One, two, and three."""
    if len(parts) < 3:
        return f" {word} ".join(parts)
    return f"{', '.join(parts[:-1])}, {word} {parts[-1]}"


def _all_files(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return f"There is one file, `{paths[0]}`."
    return f"There are {number(len(paths))} files: {joined([f'`{path}`' for path in paths])}."


def _counted_points(group: Sequence[Passage], state: str) -> str:
    quoted = [f"“{each.label}” ({_open(each.text)})" if each.label else f"“{_open(each.quote)}”" for each in group]
    points = "one point is" if len(group) == 1 else f"{number(len(group))} points are"
    under = f" (“{group[0].heading}”)" if group[0].heading else ""
    return f"According to `{group[0].path}`{under}, {points} {state}: {joined(quoted)}."


def _said_in(path: str, passages: Sequence[Passage]) -> str:
    told = []
    for (kind, heading, label), group in groupby(passages, key=lambda each: (each.kind, each.heading, each.label)):
        of = f" of “{label}”" if label else ""
        if kind is Kind.SENTENCE:
            told.append(f"`{path}` says{of}: {' '.join(f'“{_closed(each.quote)}”' for each in group)}")
        else:
            under = f" under “{heading}”" if heading else ""
            told.append(f"`{path}` lists{under}: {joined([f'“{_open(each.quote)}”' for each in group])}.")
    return " ".join(told)


def _open(sentence: str) -> str:
    return sentence.rstrip(".")


def _closed(sentence: str) -> str:
    return sentence if sentence[-1:] in '.!?…:"”' else f"{sentence}."
