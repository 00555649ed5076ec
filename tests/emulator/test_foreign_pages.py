"""A web page that the user visits cannot use the emulator, which listens where the browser reaches it."""

import sys
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.emulator_control import RunningEmulator
from tests.support.processes import Process

FOREIGN = [
    {"Host": "evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
]
REQUEST = '{"model": "scenario:echo", "input": "Hi."}'


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/v1/responses"), ("GET", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel")),
        *(("POST", "/control/reset"), ("POST", "/control/clock"), ("DELETE", "/control/faults")),
        ("GET", "/control/billing"),
    ],
)
async def test_nothing_is_done_for_a_foreign_page(
    emulator: RunningEmulator, method: str, path: str, headers: dict[str, str]
) -> None:
    base = emulator.base_url.removesuffix("/v1")
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        await http.post(f"{base}/v1/responses", content=REQUEST)
        before = await emulator.control.billing()
        answer = await http.request(method, base + path, content=REQUEST, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_request"
    assert await emulator.control.billing() == before


@pytest.mark.parametrize("headers", FOREIGN[:3])
async def test_no_websocket_is_opened_for_a_foreign_page(emulator: RunningEmulator, headers: dict[str, str]) -> None:
    url = emulator.base_url.replace("http", "ws", 1) + "/responses"
    given = dict(headers)
    if (host := given.pop("Host", None)) is not None:
        port = url.split(":")[2].split("/")[0]
        url = url.replace("127.0.0.1", host)
        connecting = connect(url, host="127.0.0.1", port=int(port), proxy=None)
    else:
        connecting = connect(url, additional_headers=given, proxy=None)
    with pytest.raises(InvalidStatus) as refused:
        async with connecting:
            pass
    assert refused.value.response.status_code == 403


async def test_it_answers_to_the_names_that_it_is_given(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "durable_responses.emulator", "--host", "0.0.0.0", "--port", "0"]
    async with Process([*command, "--allowed-host", "emulator"], log=tmp_path / "emulator.log") as process:
        port = (await process.wait_for_line(r":(\d+)/v1$"))[1]
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:

            async def status(host: str) -> int:
                url = f"http://127.0.0.1:{port}/v1/responses"
                return (await http.post(url, content=REQUEST, headers={"Host": host})).status_code

            assert await status(f"emulator:{port}") == 200
            assert await status("other:80") == 403
