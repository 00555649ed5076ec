"""The architecture: the import contracts of pyproject.toml hold, and every class has one name that it is loaded by."""

import importlib
import pkgutil
import secrets
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

import durable_responses
from durable_responses.workflows.contract import AgentInput
from tests.support import module_names
from tests.support.deployment import Deployment
from tests.support.processes import CHECKOUT
from tests.support.sandbox_probe import SandboxProbe

PACKAGES = [found.name for found in pkgutil.iter_modules(durable_responses.__path__) if found.ispkg]
DOORS = {"workflows", "activities", "worker", "starter"}


def python(program: str) -> "subprocess.CompletedProcess[str]":
    """Run it in a process of its own, in the checkout."""
    return subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False)


def second_names(modules: Iterable[str]) -> list[str]:
    """The modules that were loaded by a path of the checkout instead of `durable_responses.…`."""
    return [name for name in modules if name.partition(".")[0] in DOORS]


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    linter = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert linter.returncode == 0, linter.stdout


# --- one name --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["workflows", "activities"])
def test_a_folder_of_the_checkout_is_no_package_of_its_own(name: str) -> None:
    """Under two names every class would be loaded twice, and `isinstance` would tell the two apart."""
    done = python(f"import {name}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: Import durable_responses.{name}: under the name")


async def test_a_worker_has_loaded_every_module_by_one_name(deployment: Deployment) -> None:
    async with deployment.worker(AGENT_TOOL_MODULES=module_names.__name__) as worker:
        loaded = (await worker.wait_for_line("loaded: (.*)"))[1].split()
    assert {"durable_responses.workflows.agent", "durable_responses.activities.responses"} <= set(loaded)
    assert second_names(loaded) == []


async def test_the_sandbox_has_one_contract_and_every_module_by_one_name(client: Client) -> None:
    queue = f"probe-{secrets.token_hex(4)}"
    async with Worker(client, task_queue=queue, workflows=[SandboxProbe]):
        seen = await client.execute_workflow(SandboxProbe.run, id=queue, task_queue=queue)
    assert "durable_responses.workflows.agent" in seen.modules
    assert second_names(seen.modules) == []
    assert seen.input_class == id(AgentInput)


# --- lazy packages ---------------------------------------------------------------------------------------------------


def test_importing_the_packages_loads_none_of_their_modules() -> None:
    """What a package's `__init__` imports is imported in Temporal's sandbox too, which would have a second contract."""
    packages = ["durable_responses", *(f"durable_responses.{name}" for name in PACKAGES)]
    done = python(f"import sys, {', '.join(packages)}; print(*(n for n in sys.modules if n.startswith('durable_')))")
    assert sorted(done.stdout.split()) == sorted(packages), done.stderr


def test_a_stored_history_replays_after_the_import_that_a_user_writes() -> None:
    """In the sandbox, in a process where the import of the package came first."""
    done = python(
        "from durable_responses import AgentInput\n"
        "import asyncio\n"
        "from tests.workflows.test_replay import RELEASE, replay\n"
        "asyncio.run(replay(RELEASE / 'background.json'))\n"
    )
    assert done.returncode == 0, done.stderr


def test_no_module_has_the_name_of_something_exported() -> None:
    """The module, once loaded, would take the place of what was exported."""
    taken = [
        f"{package.__name__}.{module.name}"
        for package in (durable_responses, *(importlib.import_module(f"durable_responses.{name}") for name in PACKAGES))
        for module in pkgutil.iter_modules(package.__path__)
        if module.name in getattr(package, "__all__", ())
    ]
    assert taken == []


def test_everything_that_is_exported_is_there() -> None:
    for package in (durable_responses, importlib.import_module("durable_responses.embedded")):
        assert set(package.__all__) <= set(dir(package))
        assert [name for name in package.__all__ if not hasattr(package, name)] == []
