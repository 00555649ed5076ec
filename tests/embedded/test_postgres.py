"""The private PostgreSQL cluster, with the system's real programs where they are installed."""

import os
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_responses.embedded import postgres
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import ProgramMissing, output_of
from durable_responses.embedded.parts import bare_environment
from durable_responses.embedded.postgres import PostgresCluster
from durable_responses.settings import Settings
from tests.support.deployment import until
from tests.support.processes import Process, free_port


def is_installed() -> bool:
    return bool(shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


installed = pytest.mark.skipif(not is_installed(), reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    folder = StateFolder(Settings(state_folder=tmp_path_factory.mktemp("state")))
    folder.make()
    return folder


@pytest.fixture(scope="module")
async def cluster(folder: StateFolder) -> AsyncIterator[PostgresCluster]:
    cluster = PostgresCluster.of(folder, free_port())
    await cluster.make(print)
    yield cluster
    shutil.rmtree(cluster.data)


async def query(cluster: PostgresCluster, sql: str, password: str) -> tuple[int, str]:
    where = ["--host", "127.0.0.1", "--port", str(cluster.port), "--username", postgres.USER, "--dbname", "postgres"]
    command = [str(cluster.programs / "psql"), *where, "--no-password", "--tuples-only", "--command", sql]
    return await output_of(command, PGPASSWORD=password)


@installed
async def test_a_cluster_serves_whoever_has_its_password(cluster: PostgresCluster, tmp_path: Path) -> None:
    async with Process(cluster.command(), log=tmp_path / "log", env=bare_environment(LC_ALL="C"), cwd=Path("/")):
        await until(cluster.accepts)
        assert (await query(cluster, "show max_connections", cluster.password))[1].strip() == "200"
        code, text = await query(cluster, "select 1", "wrong")
        assert code
        assert "password authentication failed" in text


@installed
async def test_a_cluster_is_made_once(cluster: PostgresCluster, folder: StateFolder) -> None:
    made_at = (cluster.data / "PG_VERSION").stat().st_mtime_ns
    again = PostgresCluster.of(folder, cluster.port)
    await again.make(print)
    assert again == cluster
    assert (cluster.data / "PG_VERSION").stat().st_mtime_ns == made_at


@installed
async def test_a_cluster_does_not_belong_to_root(cluster: PostgresCluster) -> None:
    assert cluster.data.stat().st_uid == (os.geteuid() or cluster.data.parent.stat().st_uid) != 0


@installed
async def test_only_we_can_read_the_password(cluster: PostgresCluster, folder: StateFolder) -> None:
    path = folder.path / "postgres.password"
    assert path.read_text() == cluster.password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_postgres_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="apt-get install postgresql"):
        PostgresCluster.of(StateFolder(Settings(state_folder=tmp_path)), free_port())
