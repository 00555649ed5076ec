"""Temporal's Web UI as a server of its own, built from its Go module."""

from pathlib import Path

from pydantic import BaseModel

from durable_responses.embedded import readiness
from durable_responses.embedded.folder import StateFolder
from durable_responses.embedded.go_programs import GoProgram
from durable_responses.stack_file import Ports

WEB_UI = GoProgram(
    title="Temporal Web UI",
    binary="temporal-ui",
    version="2.55.0",  # the newest that Go 1.26.8 builds
    folder="temporal-ui",
    requires="github.com/temporalio/ui-server/v2",
    package="github.com/temporalio/ui-server/v2/cmd/server",
    takes="less than a minute",
    instead="run the images of docker-compose.yml instead",
)
_ENVIRONMENT = "stack"


class WebUiConfig(BaseModel):
    """The Web UI's own configuration, by its own names."""

    temporalGrpcAddress: str
    host: str = readiness.HOST
    port: int
    enableUi: bool = True
    defaultNamespace: str
    # It would ask a host outside.
    disableNewsFetch: bool = True


def web_ui_command(program: Path, folder: StateFolder, ports: Ports, namespace: str) -> list[str]:
    """The command that serves the Web UI on 127.0.0.1. Writes its configuration into the state folder."""
    config = WebUiConfig(
        temporalGrpcAddress=f"{readiness.HOST}:{ports.temporal}", port=ports.web_ui, defaultNamespace=namespace
    )
    place = folder.path / "web-ui"
    place.mkdir(exist_ok=True)
    # JSON is YAML.
    (place / f"{_ENVIRONMENT}.yaml").write_text(config.model_dump_json(indent=2))
    return [str(program), "--root", str(folder.path), "--config", place.name, "--env", _ENVIRONMENT, "start"]
