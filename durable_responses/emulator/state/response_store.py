"""Responses by id: those that can be read, and those that can be continued."""

from durable_responses.emulator.objects.api_errors import invalid, previous_response_not_found, response_not_found
from durable_responses.emulator.objects.request_bodies import Item, is_reference
from durable_responses.emulator.state.lifecycle import StoredResponse, conversation_locked
from durable_responses.responses_api.models import UNFINISHED, ResponseStatus

CONTINUABLE = frozenset({ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE})


class Store:
    """Responses by id. Those that can no longer be read stay in `all`, for the bill."""

    def __init__(self) -> None:
        self.all: dict[str, StoredResponse] = {}

    def add(self, response: StoredResponse) -> None:
        """Keep a response."""
        self.all[response.id] = response

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
        """Items with those in the place of references that these name, as far as they can be read."""
        return [(self.item(item["id"], now) or item) if is_reference(item) else item for item in items]

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
