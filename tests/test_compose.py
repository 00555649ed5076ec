"""docker-compose.yml: pinned, healthy, without secrets, and the same as `make stack`."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from durable_responses.embedded import postgres, temporal_server
from durable_responses.embedded.temporal_server import SERVER
from durable_responses.embedded.web_ui import WEB_UI
from durable_responses.settings import OtelSettings, Settings
from durable_responses.web_ui import ALLOWED_HOST
from tests.support.processes import CHECKOUT

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {name for name, service in SERVICES.items() if service["restart"].startswith("on-failure")}
LASTING = sorted(set(SERVICES) - ONCE)
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
DEPENDENCIES = [
    (name, other, how["condition"])
    for name, service in SERVICES.items()
    for other, how in service.get("depends_on", {}).items()
]


def environment(name: str) -> dict[str, str | None]:
    given: dict[str, str | None] = SERVICES[name].get("environment", {})
    return given


def test_what_is_asked_for_is_there() -> None:
    assert set(SERVICES) == {
        *("postgres", "schema", "temporal", "namespace", "web-ui-pages", "web-ui"),
        *("worker", "mcp", "emulator", "collector", "lgtm"),
    }
    assert {"schema", "namespace"} == ONCE


# --- pinned ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_whole_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:\d+(\.\d+){1,2}(-[\w.]+)?(@sha256:[0-9a-f]{64})?", SERVICES[name]["image"])


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("temporal", f"temporalio/server:{SERVER.version}"),
        ("schema", f"temporalio/admin-tools:{SERVER.version}"),
        ("web-ui-pages", f"temporalio/ui:{WEB_UI.version}"),
    ],
)
def test_the_versions_are_those_of_make_stack(name: str, image: str) -> None:
    assert SERVICES[name]["image"] == image


def test_postgres_is_of_the_major_version_that_is_tested() -> None:
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{postgres.VERSION}.")


def test_our_image_has_the_version_of_the_project() -> None:
    project = re.search(r'^version = "(.+)"', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project
    assert {SERVICES[name]["image"] for name in OURS} == {f"durable-responses:{project[1]}"}


@pytest.mark.parametrize("image", sorted({SERVICES[name]["image"] for name in set(SERVICES) - set(OURS)}))
def test_the_documentation_tells_every_version(image: str) -> None:
    name, version = image.split(":")
    (row,) = re.findall(rf"^\|.*`{name}[:`].*$", (CHECKOUT / "docs/deployment.md").read_text(), re.MULTILINE)
    assert version in row


# --- healthy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LASTING)
def test_every_service_is_restarted_and_says_whether_it_is_healthy(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize(("name", "other", "condition"), DEPENDENCIES)
def test_nothing_starts_before_what_it_needs_is_healthy(name: str, other: str, condition: str) -> None:
    assert condition == ("service_completed_successfully" if other in ONCE else "service_healthy")


def test_workers_wait_for_the_namespace() -> None:
    assert {"temporal", "namespace"} <= set(SERVICES["worker"]["depends_on"])


def test_workers_can_be_scaled() -> None:
    assert not {"container_name", "ports"} & set(SERVICES["worker"])


def test_emulator_and_mcp_are_started_only_when_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"emulator", "mcp"}


# --- safe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_published_on_loopback_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_file(name: str) -> None:
    secret = re.compile("PASSWORD|PWD|KEY|TOKEN")
    values = [value for variable, value in environment(name).items() if secret.search(variable)]
    # Either passed on as it is, or required.
    assert all(value is None or re.fullmatch(r"\$\{\w+:\?.+\}", value) for value in values)


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_do_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cap_add", "privileged", "pid", "network_mode", "devices"}.isdisjoint(service)
    assert re.fullmatch(r"[12]g", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1000


@pytest.mark.parametrize("name", OURS)
def test_every_program_of_ours_can_write_its_state(name: str) -> None:
    """The image's own /state is read-only, and is the home folder."""
    on_volumes = [volume.split(":")[1] for volume in SERVICES[name].get("volumes", [])]
    assert [*on_volumes, *SERVICES[name]["tmpfs"]].count("/state") == 1


def test_nobody_administers_grafana_without_a_password() -> None:
    given = environment("lgtm")
    assert given["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert given["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert given["GF_AUTH_BASIC_ENABLED"] == "false"


def test_the_web_ui_that_answers_to_every_name_has_no_temporal_behind_it_and_is_not_published() -> None:
    assert environment("web-ui-pages")["TEMPORAL_ADDRESS"] == "127.0.0.1:0"
    assert "ports" not in SERVICES["web-ui-pages"]
    assert "durable_responses.web_ui" in SERVICES["web-ui"]["entrypoint"]


def test_temporals_http_api_answers_to_no_name_that_a_page_can_have() -> None:
    config = yaml.safe_load(temporal_server.DYNAMIC_CONFIG.read_text())
    assert config["frontend.httpAllowedHosts"] == [{"value": [ALLOWED_HOST]}]


def test_the_emulator_answers_to_the_name_by_which_workers_know_it() -> None:
    command = SERVICES["emulator"]["command"]
    assert command[command.index("--allowed-host") + 1] == "emulator"


def test_nobody_but_temporal_reaches_the_database() -> None:
    assert COMPOSE["networks"]["database"]["internal"]
    assert {name for name, service in SERVICES.items() if "database" in service.get("networks", [])} == {
        *("postgres", "schema", "temporal")
    }
    assert SERVICES["postgres"]["networks"] == ["database"]


def test_everything_that_must_last_is_on_a_volume() -> None:
    kept = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) == {volume for volume in kept if not volume.startswith("./")}
    assert all((CHECKOUT / volume).is_file() for volume in kept if volume.startswith("./"))


# --- the same settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    ours = {Settings.variable(field) for field in Settings.model_fields}
    opentelemetry = {f"OTEL_{field.upper()}" for field in OtelSettings.model_fields}
    assert set(environment(name)) <= ours | opentelemetry | {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}


@pytest.mark.parametrize("name", OURS)
def test_every_value_is_one_that_the_settings_accept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment(name).items():
        default = re.fullmatch(r"\$\{\w+:-(.*)\}", value or "")
        monkeypatch.setenv(variable, default[1] if default else value or "")
    Settings.load()
    OtelSettings.load()


def test_temporal_is_set_up_as_in_make_stack() -> None:
    assert temporal_server.ENVIRONMENT.items() <= environment("temporal").items()
    assert environment("schema")["SQL_PLUGIN"] == temporal_server.ENVIRONMENT["DB"]
    mounted = [*SERVICES["temporal"]["volumes"], *SERVICES["schema"]["volumes"]]
    files = [(CHECKOUT / volume.split(":")[0]).resolve() for volume in mounted]
    assert files == [temporal_server.DYNAMIC_CONFIG, temporal_server.SCHEMA_SCRIPT]


def test_postgres_is_set_up_as_in_make_stack() -> None:
    assert SERVICES["postgres"]["environment"]["POSTGRES_USER"] == postgres.USER
    assert SERVICES["postgres"]["command"][1:] == [
        word for name, value in postgres.SETTINGS.items() for word in ("-c", f"{name}={value}")
    ]


def test_finished_runs_are_kept_as_long_as_the_setting_says_by_default() -> None:
    """A20."""
    assert environment("namespace")["AGENT_RETENTION"] == "${AGENT_RETENTION:-720h}"
    assert Settings.model_fields["retention"].default.total_seconds() == 720 * 3600


# --- compose itself ----------------------------------------------------------------------------------------------


def compose_is_there() -> bool:
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not compose_is_there(), reason="docker compose is not installed")
def test_compose_accepts_the_file(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("POSTGRES_PASSWORD=for-the-test\n")
    shown = subprocess.run(
        ["docker", "compose", "--env-file", str(env_file), "--profile", "*", "config", "--format", "json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert set(json.loads(shown.stdout)["services"]) == set(SERVICES)
