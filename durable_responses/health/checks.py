"""The outcome of one check."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    NOTE = "note"
    """Agents run, but something would be better otherwise."""
    PROBLEM = "problem"
    """Agents do not run, or will not for long."""


class Check(BaseModel):
    """One check: `found` says what there is, `cure` what to do about it."""

    model_config = ConfigDict(frozen=True)

    name: str
    verdict: Verdict = Verdict.OK
    found: str
    cure: str | None = None


class Report(BaseModel):
    """All checks, in the order in which one would fix things."""

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
