"""The servers of the slow lane: what is installed for each, how it is started, and what it can be asked.

Versions are pinned here; a new one is tried by changing its line and running the lane.
"""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.environments import environment_folder, go_program, node_environment, python_environment
from tests.support.processes import free_port

HERE = Path(__file__).parent
CHAT_MODEL = [sys.executable, str(HERE / "chat_model.py")]
TASK, CALL_TASK = "Say hello.", "Look at the gate."


@dataclass(frozen=True)
class Place:
    """Where a server is started: its folder, its port, and the URL of the chat model that may stand behind it."""

    folder: Path
    port: int
    chat_model: str


@dataclass(frozen=True)
class Program:
    """A process, and the path below which it serves the API."""

    command: list[str]
    path: str = "/v1"
    variables: Mapping[str, str] = field(default_factory=dict)
    behind: "Program | None" = None
    """Another one, that it stands in front of."""


@dataclass(frozen=True)
class Server:
    """A server of the lane. `installed` raises `CannotBeInstalled`; `known`: what is not to be had there, by column."""

    name: str
    version: str
    installed: Callable[[], Awaitable[Path]]
    program: Callable[[Path, Place], Program]
    model: str = "scripted"
    follows_words: bool = True
    """Whether what it answers follows the task; random weights do not."""
    known: Mapping[str, str] = field(default_factory=dict)
    starts_within: float = 300  # on a busy machine


# --- aimock: fixtures, by the last message of the user -------------------------------------------------------------

_AIMOCK = "1.43.0"


async def _aimock_installed() -> Path:
    return await node_environment("aimock", f"@copilotkit/aimock@{_AIMOCK}")


def _aimock(environment: Path, place: Place) -> Program:
    look = {"toolCalls": [{"name": "look", "arguments": {"gate": "open"}}]}
    looked = {"content": f"The task was: {CALL_TASK} I was told: The gate open is open."}
    fixtures = [
        {"match": {"userMessage": CALL_TASK, "hasToolResult": False}, "response": look},
        {"match": {"userMessage": CALL_TASK, "hasToolResult": True}, "response": looked},
        {"match": {"hasToolResult": True}, "response": {"content": "The task was: unknown I was told: something"}},
        {"match": {"userMessage": TASK}, "response": {"content": f"The task was: {TASK} I was told: nothing"}},
        *(
            {
                "match": {"userMessage": f"Take {seconds} seconds."},
                "response": {"content": "One word after the other, slowly, until all of them are there. " * 2},
                "latency": seconds * 1000 // 8,
            }
            for seconds in (6, 60)
        ),
    ]
    path = place.folder / "fixtures.json"
    path.write_text(json.dumps({"fixtures": fixtures}))
    program = environment / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    return Program(["node", str(program), "-p", str(place.port), "-f", str(path), "--log-level", "info"])


# --- azure-ai-agentserver-responses: an agent of ours on it --------------------------------------------------------

_AZURE = "2.3.0"
_AZURE_ENVIRONMENT = ("azure-agentserver", f"azure-ai-agentserver-responses=={_AZURE}")


async def _azure_installed() -> Path:
    return await python_environment(*_AZURE_ENVIRONMENT)


def _azure(environment: Path, place: Place) -> Program:
    command = [str(environment / "bin" / "python"), str(HERE / "azure_agent.py")]
    return Program(command, path="", variables={"PORT": str(place.port), **_at_home(place)})


# --- LiteLLM: in front of a chat model (its bridge), and of the Responses API --------------------------------------

_LITELLM = "1.108.7"


async def _litellm_installed() -> Path:
    return await python_environment("litellm", f"litellm[proxy]=={_LITELLM}")


def _litellm(environment: Path, place: Place, parameters: Mapping[str, str]) -> Program:
    path = place.folder / "config.yaml"
    path.write_text(json.dumps({"model_list": [{"model_name": "scripted", "litellm_params": dict(parameters)}]}))
    command = [str(environment / "bin" / "litellm"), "--host", "127.0.0.1", "--port", str(place.port)]
    variables = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it is fetched otherwise
        "LITELLM_TELEMETRY": "False",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on a port of this machine
        **_at_home(place),
    }
    return Program([*command, "--config", str(path)], variables=variables)


def _litellm_bridge(environment: Path, place: Place) -> Program:
    return _litellm(
        environment, place, {"model": "custom_openai/scripted", "api_base": place.chat_model, "api_key": "any"}
    )


async def _litellm_native_installed() -> Path:
    await _azure_installed()
    return await _litellm_installed()


def _litellm_native(environment: Path, place: Place) -> Program:
    behind = replace(place, port=free_port())
    azure = _azure(environment_folder(*_AZURE_ENVIRONMENT), behind)
    upstream = {"model": "openai/scripted", "api_base": f"http://127.0.0.1:{behind.port}", "api_key": "any"}
    return replace(_litellm(environment, place, upstream), behind=azure)


# --- OGX: its Responses API in front of a chat model ---------------------------------------------------------------

_OGX = "1.5.0"


async def _ogx_installed() -> Path:
    packages = (f"ogx=={_OGX}", "sqlalchemy[asyncio]==2.1.9", "aiosqlite==0.22.1")
    return await python_environment("ogx", *packages, at_least=(3, 12))


def _ogx(environment: Path, place: Place) -> Program:
    stores = {name: {"table_name": name, "backend": "sql"} for name in ("inference", "conversations", "prompts")}
    config = {
        "version": 2,
        "distro_name": "lane",
        "apis": ["inference", "responses", "files", "tool_runtime", "vector_io"],
        "providers": {
            "inference": [
                {
                    "provider_id": "vllm",
                    "provider_type": "remote::vllm",
                    "config": {"base_url": place.chat_model, "api_token": "any"},
                }
            ],
            "responses": [
                {
                    "provider_id": "builtin",
                    "provider_type": "inline::builtin",
                    "config": {"persistence": {"responses": {"table_name": "responses", "backend": "sql"}}},
                }
            ],
            "files": [
                {
                    "provider_id": "files",
                    "provider_type": "inline::localfs",
                    "config": {
                        "storage_dir": str(place.folder / "files"),
                        "metadata_store": {"table_name": "files", "backend": "sql"},
                    },
                }
            ],
            "tool_runtime": [],
            "vector_io": [],
        },
        "storage": {
            "backends": {
                "kv": {"type": "kv_sqlite", "db_path": str(place.folder / "kv.db")},
                "sql": {"type": "sql_sqlite", "db_path": str(place.folder / "sql.db")},
            },
            "stores": {
                **stores,
                "metadata": {"namespace": "registry", "backend": "kv"},
                "connectors": {"table_name": "connectors", "backend": "sql"},
            },
        },
        "registered_resources": {
            "models": [
                {
                    "metadata": {},
                    "model_id": "scripted",
                    "provider_id": "vllm",
                    "provider_model_id": "scripted",
                    "model_type": "llm",
                }
            ]
        },
        "server": {"port": place.port, "host": "127.0.0.1"},
    }
    path = place.folder / "ogx.yaml"
    path.write_text(json.dumps(config))
    return Program([str(environment / "bin" / "ogx"), "run", str(path), "--insecure"], variables=_at_home(place))


# --- llama.cpp: random weights, made on the spot -------------------------------------------------------------------

_LLAMA = "2026.10.11549"


async def _llama_installed() -> Path:
    return await python_environment("llama", f"xllamacpp=={_LLAMA}", "gguf==0.19.0", "numpy==2.4.6")


def _llama(environment: Path, place: Place) -> Program:
    return Program(
        [str(environment / "bin" / "python"), str(HERE / "llama_server.py"), str(place.port), str(place.folder)]
    )


# --- transformers serve: a tiny Llama with random weights ----------------------------------------------------------

_TRANSFORMERS = "5.23.0"


async def _transformers_installed() -> Path:
    return await python_environment("transformers", f"transformers[serving]=={_TRANSFORMERS}", "torch==2.15.0")


def _transformers(environment: Path, place: Place) -> Program:
    # It answers to no other name than that of the folder, as it is given.
    make = f'cd "{place.folder}" && "{environment / "bin" / "python"}" "{HERE / "transformers_model.py"}" tiny'
    serve = f'exec "{environment / "bin" / "transformers"}" serve --host 127.0.0.1 --port {place.port} tiny'
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **_at_home(place)}
    return Program(["sh", "-c", f"{make} && {serve}"], variables=variables)


# --- Ollama: its own translation of the Responses API, in front of a scripted chat model ---------------------------

_OLLAMA = "0.17.4"


async def _ollama_installed() -> Path:
    return await go_program("ollama", HERE / "ollama")


def _ollama(environment: Path, place: Place) -> Program:
    return Program([str(environment / "ollama"), str(place.port)])


def _at_home(place: Place) -> dict[str, str]:
    return {"HOME": str(place.folder)}


_RANDOM = {"tool": "not asked"}
"""Random weights call no function on request."""

SERVERS = [
    Server("aimock", _AIMOCK, _aimock_installed, _aimock),
    Server("azure-ai-agentserver-responses", _AZURE, _azure_installed, _azure),
    Server("LiteLLM, bridge to a chat model", _LITELLM, _litellm_installed, _litellm_bridge),
    Server("LiteLLM, in front of the Responses API", _LITELLM, _litellm_native_installed, _litellm_native),
    Server("llama.cpp, by xllamacpp", _LLAMA, _llama_installed, _llama, follows_words=False, known=_RANDOM),
    Server(
        "transformers serve",
        _TRANSFORMERS,
        _transformers_installed,
        _transformers,
        model="tiny",
        follows_words=False,
        known=_RANDOM,
    ),
    Server("Ollama (its middleware)", _OLLAMA, _ollama_installed, _ollama),
    Server("OGX", _OGX, _ogx_installed, _ogx, model="vllm/scripted"),
]
