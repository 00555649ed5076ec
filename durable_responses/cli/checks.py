"""What `doctor` says, on a terminal and in plain lines."""

from collections.abc import Sequence

from rich.text import Text

from durable_responses.cli.tools import ToolDescription, described, registry_of, table_of
from durable_responses.embedded import running_project
from durable_responses.health.checks import Check, Report, Verdict, note, ok, problem
from durable_responses.health.in_force import SettingInForce
from durable_responses.settings import Settings, Source, configured_address
from durable_responses.shown_text import shown_on_one_line
from durable_responses.tools.registry import RegistryError

_STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "bold red"}
_LONGEST_VALUE = 40
_ORIGINS = {
    Source.ENVIRONMENT: "environment",
    Source.FILE: "file",
    Source.TEMPORAL: "Temporal's configuration",
    Source.DEFAULT: "default",
}
_VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)


class Diagnosis(Report):
    """`doctor --json`."""

    settings: list[SettingInForce]
    tools: list[ToolDescription]


def check_tools(settings: Settings) -> tuple[list[ToolDescription], Check]:
    """The tools that a worker with these settings offers, and whether it can."""
    try:
        tools = described(registry_of(settings))
    except RegistryError as error:
        return [], problem("tools", str(error).rstrip("."), "correct that module, or AGENT_TOOL_MODULES")
    modules = dict.fromkeys(each.module for each in tools)
    return tools, ok("tools", f"{len(tools)}, of {', '.join(modules)}")


def check_worker(settings: Settings) -> Check:
    """Whose the settings are that are shown: what holds for a run is what its worker was started with."""
    if configured_address():
        return ok("worker", "the settings are those of this terminal; each worker has those that it was started with")
    running = running_project(settings)
    if running is None:
        return ok("worker", "the settings are those of this terminal; a worker that is started here gets them")
    wanted = settings.fingerprints()
    differing = [name for name in wanted if running.settings.get(name) != wanted[name]]
    if not differing:
        return ok("worker", "has the same settings as this terminal")
    return note(
        "worker",
        f"it was started with another {', '.join(differing)}",
        "`durable-responses down` stops it; the next run starts one with the settings that are shown",
    )


def lines_of_settings(settings: Sequence[SettingInForce]) -> list[Text]:
    """One line for each setting that has a value: name, value, source. The names of the others are in one."""
    said = [each for each in settings if each.value is not None]
    width = max(len(each.name) for each in said)
    longest = min(max(len(each.value or "") for each in said), _LONGEST_VALUE)
    lines = [Text("Settings in force in this terminal", style="bold")]
    for each in said:
        style = "dim" if each.source is Source.DEFAULT else ""
        value = f"{shown_on_one_line(each.value or ''):{longest}}"
        lines.append(Text(f"  {each.name:{width}}  {value}  {_ORIGINS[each.source]}", style=style))
        if each.place:
            lines[-1].append(f" {each.place}")
    return [*lines, Text(f"  not set: {', '.join(each.name for each in settings if each.value is None)}", style="dim")]


def lines_of_tools(tools: Sequence[ToolDescription]) -> list[Text]:
    """One line for each tool."""
    rows = [Text(f"  {line}") for line in table_of(list(tools))] if tools else []
    return [Text("Tools", style="bold"), *rows, Text("Checks", style="bold")]


def lines_of(report: Report) -> list[Text]:
    """One line for each check, and below it what to do unless all is well."""
    width = max(len(check.name) for check in report.checks)
    lines = []
    for check in report.checks:
        verdict = (f"{check.verdict:{_VERDICT_WIDTH}}", _STYLES[check.verdict])
        lines.append(Text.assemble(verdict, f"  {check.name:{width}}  {shown_on_one_line(check.found)}"))
        if check.cure:
            lines.append(Text(f"{'':{_VERDICT_WIDTH}}  {'':{width}}  → {shown_on_one_line(check.cure)}"))
    return lines
