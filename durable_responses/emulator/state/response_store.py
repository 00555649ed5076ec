"""Responses by id: those that can be read, and those that can be continued."""

from collections.abc import Callable, Sequence
from functools import partial

from durable_responses.emulator.model.context import is_compaction, since_compaction
from durable_responses.emulator.model.conversation import tokens_of_items, tokens_of_options
from durable_responses.emulator.objects.api_errors import (
    invalid,
    previous_response_not_found,
    response_not_found,
    unknown_compaction,
)
from durable_responses.emulator.objects.request_bodies import Item, ModelInput, is_reference, is_trigger
from durable_responses.emulator.state.lifecycle import StoredResponse, conversation_locked
from durable_responses.responses_api.models import UNFINISHED, ResponseStatus

CONTINUABLE = frozenset({ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE})


class Store:
    """Responses by id. Those that can no longer be read stay in `all`, for the bill."""

    def __init__(self) -> None:
        self.all: dict[str, StoredResponse] = {}
        self._compacted: dict[str, Callable[[], list[Item]]] = {}

    def add(self, response: StoredResponse) -> None:
        """Keep a response."""
        self.all[response.id] = response
        for index, span in enumerate(response.timeline.spans):
            if span.item.type == "compaction":
                self.add_compaction(span.item.model_dump(), partial(self._before_output, response, index))

    def add_compaction(self, item: Item, replaced: Callable[[], list[Item]]) -> None:
        """Keep what a compaction item stands for."""
        self._compacted[item["encrypted_content"]] = replaced

    def _before_output(self, response: StoredResponse, index: int) -> list[Item]:
        made = [span.item.model_dump(mode="json", exclude_none=True) for span in response.timeline.spans[:index]]
        return [*(self.context(response.previous) if response.previous else []), *response.items, *made]

    def remembered(self, items: Sequence[Item]) -> list[Item]:
        """Items with all that their latest compaction stands for in its place. Raises: ApiError 400; see `check`."""
        after: list[Item] = []
        while items:
            shown = since_compaction(items)
            if not is_compaction(shown[0]):
                return [*shown, *after]
            self.check_compactions(shown)
            after = [*shown[1:], *after]
            items = self._compacted[shown[0]["encrypted_content"]]()
        return after

    def check_compactions(self, items: Sequence[Item]) -> None:
        """Whether the compaction items were made here. Raises: ApiError 400."""
        for index, item in enumerate(items):
            if is_compaction(item) and item["encrypted_content"] not in self._compacted:
                raise unknown_compaction(f"input[{index}].encrypted_content")

    def tokens(
        self, request: ModelInput, previous: StoredResponse | None, items: list[Item], window: int | None = None
    ) -> tuple[int, int]:
        """Tokens before the model, and those of them that came with the previous response, which may be cached.

        With `truncation: auto` items are left out from the start until the rest fits into the window.
        """
        options = tokens_of_options(request)
        given = since_compaction(items)
        previous = None if given and is_compaction(given[0]) else previous
        cached = previous.context_tokens if previous else 0
        tokens = cached + tokens_of_items(given) + options
        if window is None or tokens <= window or request.truncation != "auto":
            return tokens, cached
        shown = since_compaction([*(self.context(previous) if previous else []), *given])
        kept = 0
        for item in reversed(shown):
            cost = tokens_of_items([item])
            if kept and kept + cost + options > window:
                break
            kept += cost
        return kept + options, 0

    def get(self, response_id: str, now: float) -> StoredResponse:
        """A response that can be read. Raises: ApiError 404."""
        response = self.all.get(response_id)
        if response is None or not response.is_kept(now):
            raise response_not_found(response_id)
        return response

    def previous(self, response_id: str, now: float) -> StoredResponse:
        """A response that can be continued: stored, finished, neither failed nor cancelled. Raises: ApiError 400."""
        response = self.all.get(response_id)
        if response is None or response.deleted or not response.request.is_stored:
            raise previous_response_not_found(response_id)
        status = response.status(now)
        if status in UNFINISHED:
            raise conversation_locked(response_id)
        if status not in CONTINUABLE:
            message = f"Previous response '{response_id}' cannot be continued: its status is '{status}'."
            raise invalid(message, "previous_response_id")
        return response

    def context(self, last: StoredResponse) -> list[Item]:
        """Everything said up to the end of a response: input and output of it and all before it, oldest first."""
        chain: list[StoredResponse] = []
        response: StoredResponse | None = last
        while response is not None:
            chain.append(response)
            response = response.previous
        return [item for link in reversed(chain) for item in (*link.items, *link.output_items)]

    def resolved(self, items: list[Item], now: float) -> list[Item]:
        """Items with those in the place of references that these name, as far as they can be read; no triggers."""
        kept = [item for item in items if not is_trigger(item)]
        return [(self.item(item["id"], now) or item) if is_reference(item) else item for item in kept]

    def item(self, item_id: str, now: float) -> Item | None:
        """An item of a stored response, input or output, by its id."""
        # The ids that are made here say to which response they belong; others are looked for.
        key = item_id.partition("_")[2][:-2]
        likely = self.all.get(f"resp_{key}")
        for response in [likely] if likely else reversed(list(self.all.values())):
            if response.is_kept(now) and response.request.is_stored:
                own = response.output_items if response.status(now) not in UNFINISHED else []
                for item in (*own, *response.input_items):
                    if item.get("id") == item_id:
                        return item
        return None

    def clear(self) -> None:
        """Forget all."""
        self.all.clear()
        self._compacted.clear()
