"""The dashboard of docker-compose.yml: every panel finds what a worker really sends, by the names Prometheus gives it.

Names: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from durable_responses.emulator.model.script import Script, Text
from durable_responses.telemetry.export import Protocol
from durable_responses.workflows.contract import TransportChoice
from tests.support.deployment import Deployment, calls, until
from tests.support.processes import CHECKOUT
from tests.support.receiver import Received, receiving
from tests.telemetry.conftest import exporting_worker

DASHBOARD = json.loads((CHECKOUT / "deploy/grafana/durable-responses.json").read_text())
PANELS: dict[str, dict[str, Any]] = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
TURNS = [Script(think=0.2, output=[calls("look", "open")]), Script(output=[Text(text="The answer.")], write=0.2)]

UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}
OF_A_SERIES = {"le"}
# A resource's attributes become labels where Prometheus is told so, as the LGTM image's is.
OF_A_RESOURCE = {"service_instance_id"}


def prometheus_names(metric: Any) -> set[str]:
    """The series that a metric becomes."""
    base = re.sub(r"\W", "_", metric.name)
    if (unit := UNITS.get(metric.unit)) and not base.endswith(unit):
        base = f"{base}_{unit}"
    match metric.WhichOneof("data"):
        case "histogram":
            return {f"{base}_bucket", f"{base}_count", f"{base}_sum"}
        case "sum" if metric.sum.is_monotonic:
            return {base if base.endswith("_total") else f"{base}_total"}
        case _:
            return {base}


def series_of(panel: dict[str, Any]) -> set[str]:
    """The series that a panel asks for."""
    expressions = " ".join(target["expr"] for target in panel["targets"])
    words = re.findall(r"[a-z]\w+", re.sub(r"by \([^)]*\)|\[.*?\]", "", expressions))
    return {word for word in words if "_" in word and word != "histogram_quantile"}


def labels_of(panel: dict[str, Any]) -> set[str]:
    """The labels that a panel groups by and shows."""
    text = " ".join(f"{target['expr']} {target['legendFormat']}" for target in panel["targets"])
    grouped = ", ".join(re.findall(r"by \(([^)]*)\)", text)).split(", ")
    return {label for label in [*grouped, *re.findall(r"{{(\w+)}}", text)] if label}


@pytest.fixture(scope="module")
def measured() -> Iterator[Received]:
    with receiving(Protocol.GRPC) as receiver:
        yield receiver


@pytest.fixture(scope="module")
async def sent(deployment: Deployment, measured: Received) -> AsyncIterator[Received]:
    """What a worker has sent of a run in the background, one over a stream, and one that was cancelled."""
    async with exporting_worker(deployment, measured):
        for transport in (TransportChoice.BACKGROUND, TransportChoice.STREAM):
            run = await deployment.start(f"shown-{transport}", TURNS, transport=transport)
            await run.result()
        run = await deployment.start("shown-stopped", [Script(think=60)], transport=TransportChoice.BACKGROUND)
        await until(lambda: run.heartbeat_of("await_response"))
        await run.handle.signal("cancel")
        await run.result()

        async def all_is_there() -> bool:
            return measured.metric("agent.cancel.duration") > 0

        await until(all_is_there)
        yield measured


@pytest.mark.parametrize("title", PANELS)
def test_every_panel_shows_series_that_a_worker_sends(sent: Received, title: str) -> None:
    names = {name: metric.name for metric in sent.metrics.values() for name in prometheus_names(metric)}
    asked = series_of(PANELS[title])
    assert asked
    assert asked <= set(names)


@pytest.mark.parametrize("title", PANELS)
def test_every_panel_groups_by_labels_that_its_series_have(sent: Received, title: str) -> None:
    names = {name: metric.name for metric in sent.metrics.values() for name in prometheus_names(metric)}
    labels = {re.sub(r"\W", "_", label) for name in series_of(PANELS[title]) for label in sent.labels(names[name])}
    assert labels_of(PANELS[title]) <= labels | OF_A_SERIES | OF_A_RESOURCE


def test_every_panel_is_set_apart_and_says_what_it_shows() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert {panel["datasource"]["uid"] for panel in PANELS.values()} == {"prometheus"}
