"""Many connections, opened, used, cut and closed in random order."""

import asyncio
import random
from collections import Counter

import psutil

from durable_responses.responses_api.errors import NotProcessed, OutcomeUnknown
from durable_responses.responses_api.handshake import ConnectOptions
from durable_responses.responses_api.models import CreateRequest
from durable_responses.responses_api.websocket_pool import Lease, WebSocketPool
from tests.support.websocket_server import Peer, Server, error

KEY = "sk-test-0123456789abcdef"
CONNECTIONS = 200
TURNS = 10_000


class Unruly:
    """A server that answers most creates, each with the id that its input names, and cuts, closes or refuses others."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self.taken: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()

    async def __call__(self, peer: Peer) -> None:
        while True:
            turn = (await peer.hear())["input"]
            match self._random.choices(["answer", "cut", "close", "cut late", "limit"], [92, 2, 2, 2, 2])[0]:
                case "limit":
                    await peer.tell(error("websocket_connection_limit_reached"))
                    continue
                case "cut":
                    peer.abort()
                case "close":
                    await peer.connection.close(1012)
                case "cut late":
                    await peer.created(turn)
                    peer.abort()
                case "answer":
                    self.answered[turn] += 1
                    await peer.created(turn)
                    await peer.text()
                    await peer.completed(turn)
            self.taken[turn] += 1


class Sessions:
    """Clients that take a lease for each turn and sometimes leave in the middle of one."""

    def __init__(self, pool: WebSocketPool, url: str) -> None:
        self._pool = pool
        self._url = url
        self._random = random.Random(2)
        self.outcomes: Counter[str] = Counter()
        self.completed: set[str] = set()

    async def work(self, session: int) -> None:
        for number in range(TURNS // CONNECTIONS):
            async with self._pool.lease(str(session), api_key=KEY, url=self._url) as lease:
                outcome = await self._take_turn(lease, f"{session}/{number}")
            self.outcomes[outcome] += 1

    async def _take_turn(self, lease: Lease, name: str) -> str:
        turn = lease.turn(CreateRequest(model="m", input=name, store=True))
        try:
            async for _ in turn:
                if self._random.random() < 0.01:
                    return "left"
        except OutcomeUnknown:
            return "lost"
        except NotProcessed:
            return "not taken"
        assert turn.response_id == name
        self.completed.add(name)
        return "completed"


async def test_ten_thousand_turns_over_two_hundred_unruly_connections(server: Server) -> None:
    """W7, W19, W21, W23: no leak, no lost and no doubled turn. Sockets, tasks and memory are printed."""
    unruly = Unruly()
    server.will(*[unruly] * TURNS)
    process = psutil.Process()
    before = process.memory_info().rss
    async with WebSocketPool(ConnectOptions(max_retries=0, close_timeout=1)) as pool:
        sessions = Sessions(pool, server.url)
        await asyncio.gather(*(sessions.work(session) for session in range(CONNECTIONS)))
        busiest = (process.num_fds(), len(asyncio.all_tasks()))
    print(
        f"\n{TURNS} turns: {dict(sessions.outcomes)}; {len(server.peers)} connections opened; "
        f"{busiest[0]} files and {busiest[1]} tasks at the end of the work; "
        f"memory {before / 2**20:.0f} -> {process.memory_info().rss / 2**20:.0f} MiB"
    )
    assert sessions.outcomes.total() == TURNS
    assert max(unruly.taken.values()) == 1
    assert sessions.completed <= unruly.answered.keys()
    assert server.open == 0
