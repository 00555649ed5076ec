"""The checks of `doctor` on a terminal and in plain lines."""

from rich.text import Text

from durable_responses.health.checks import Report, Verdict
from durable_responses.shown_text import shown_on_one_line

_STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "bold red"}
_VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)


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
