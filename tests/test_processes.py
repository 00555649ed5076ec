from pathlib import Path

from temporalio.client import Client

from tests.support.processes import TemporalServer, port_serves


async def test_the_session_server_answers(client: Client) -> None:
    assert (await client.count_workflows()).count >= 0


async def test_a_killed_server_comes_back_with_its_runs_at_the_same_address(tmp_path: Path) -> None:
    async with await TemporalServer.on(tmp_path) as server:
        client = await server.client()
        await client.start_workflow("Anything", id="kept", task_queue="nobody")
        await server.restart()
        assert (await client.get_workflow_handle("kept").describe()).workflow_type == "Anything"
    assert not port_serves(server.port)
