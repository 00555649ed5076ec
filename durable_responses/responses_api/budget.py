"""The budget of one answer: how much of what a provider sends is taken in, so that no answer can stop a worker."""

from dataclasses import dataclass

from durable_responses.sizes import MEBIBYTE


@dataclass(frozen=True)
class AnswerBudget:
    """The limits of one answer, well above what the API sends.

    `packed` and `unpacked`: bytes of a body before and after its decompression, and of one event of a stream; the text
    of a stream as a whole takes `unpacked` at most. `error`: bytes read of an answer that is an error. `header`: bytes
    of one header; `headers`: how many of them. `depth`: levels of nesting in JSON. `values`: objects and lists in it,
    each of which takes a hundred times the memory of its few bytes; plain values may be twenty times as many. `items`:
    of one response, and the parts of one item; `citations`: of one piece of text.
    """

    packed: int = 64 * MEBIBYTE
    unpacked: int = 64 * MEBIBYTE
    error: int = 64 * 1024
    header: int = 64 * 1024
    headers: int = 1000
    depth: int = 100
    values: int = 400_000
    items: int = 5000
    citations: int = 1000


BUDGET = AnswerBudget()
