"""What one check found."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """What a check means for the program."""

    OK = "ok"
    NOTE = "note"
    """Agents run, but something would be better otherwise."""
    PROBLEM = "problem"
    """Agents do not run, or will not for long."""


class Check(BaseModel):
    """One thing that was looked at: `found` says how it is, `cure` what to do unless it is well."""

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Verdict = Verdict.OK
    found: str
    cure: str | None = None


class Report(BaseModel):
    """All that was looked at, in the order in which one would mend it."""

    checks: list[Check]

    @property
    def is_well(self) -> bool:
        """Whether agents run: there may be notes, but no problem."""
        return all(check.verdict is not Verdict.PROBLEM for check in self.checks)


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name=name, found=found)


def note(name: str, found: str, cure: str) -> Check:
    """Agents run all the same."""
    return Check(name=name, verdict=Verdict.NOTE, found=found, cure=cure)


def problem(name: str, found: str, cure: str) -> Check:
    """Agents cannot run like this."""
    return Check(name=name, verdict=Verdict.PROBLEM, found=found, cure=cure)
