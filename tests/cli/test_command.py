"""What every command does alike: wrong usage, errors, and what `--json` makes of them."""

import pytest

from tests.support.processes import free_port
from tests.support.shell import COMPLETED, UNAVAILABLE, USAGE, Shell


@pytest.mark.parametrize(
    "words",
    [
        ["status", "agent-1"],
        ["watch", "agent-1"],
        ["cancel", "agent-1"],
        ["result", "agent-1"],
        ["list"],
        ["start", "Count."],
    ],
)
async def test_without_temporal_there_is_one_clear_sentence(bare: Shell, words: list[str]) -> None:
    """A20: the run is not lost."""
    bare.env["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"
    done = await bare.run(*words)
    assert (done.code, done.out) == (UNAVAILABLE, "")
    assert done.err.count("\n") == 1
    assert "Runs are safe" in done.err


async def test_an_error_is_an_object_with_json(bare: Shell) -> None:
    done = await bare.run("status", "agent-unknown", "--json")
    assert (done.code, done.json["exit_code"]) == (USAGE, USAGE)
    assert "agent-unknown" in done.json["error"]


@pytest.mark.parametrize("words", [["run", "x", "--effort", "huge"], ["run", "x", "--bogus"], ["status", "one", "two"]])
async def test_wrong_usage_is_an_object_with_json_wherever_that_stands(bare: Shell, words: list[str]) -> None:
    for typed in ([*words, "--json"], [words[0], "--json", *words[1:]]):
        done = await bare.run(*typed)
        assert (done.code, done.json["exit_code"]) == (USAGE, USAGE)
        assert done.json["error"] == done.err.strip()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run"], "TASK"),
        (["run", "-"], "empty"),
        (["run", "--task-file", "missing.md"], "missing.md"),
        (["run", "x", "--effort", "huge"], "--effort"),
        (["run", "x", "--effort", "hihg"], "Did you mean 'high'? See `durable-responses run --help`."),
        (["run", "x", "--efort", "high"], "--effort"),
        (["run", "x", "--deadline", "soon"], "See `durable-responses run --help`."),
        (["statsu"], "Did you mean 'status'?"),
        (["--versoin"], "Did you mean '--version'?"),
        (["run", "x", "--transport", "pigeon"], "--transport"),
        (["run", "x", "--max-iterations", "0"], "max_iterations"),
        (["run", "x", "--max-iterations", "many"], "--max-iterations must be a whole number, not 'many'."),
        (["run", "x", "--job-id", ""], "--job-id is empty."),
        (["run", "x", "--model", " "], "--model is empty."),
        (["run", "x", "--job-id", "a\nb"], "--job-id: The job id contains line breaks"),
        (["run", ""], "TASK is empty. See `durable-responses run --help`."),
        (["run", "x", "--tenant", ""], "--tenant is empty."),
        (["run", "x", "--schema", ""], "--schema is empty."),
        (["run", "x", "--deadline", " "], "--deadline is empty."),
        (["run", "x", "--tool", "read_file", "--tool", ""], "--tool is empty."),
        (["run", "x", "--previous-response-id", ""], "--previous-response-id is empty."),
        (["completion"], "Missing argument 'SHELL'. Choose from: bash, zsh, fish. See `durable-responses completion"),
        (["run", "x", "--budget", "-1"], "budget.usd: must be more than 0."),
        (["run", "x", "--deadline", "soon"], "--deadline"),
        (["run", "x", "--file", "missing.md"], "missing.md"),
        (["run", "x", "--file", "/etc/hostname"], "AGENT_FILES_ROOT"),
        (["run", "x", "--input", "missing.json"], "missing.json"),
        (["run", "x", "y"], "y"),
        (["run", "x", "--bogus"], "--bogus"),
        (["fly"], "fly"),
        (["status", "one", "two"], "two"),
        (["list", "--limit", "0"], "--limit must be at least 1, not '0'."),
        (["list", "--ended", "soon"], "--ended 'soon' must be a time such as 12h"),
        (["list", "--ended", "1d", "--open"], "--open and --ended exclude each other."),
        (["costs", "--since", "x"], "--since 'x' must be a time"),
        (["budgets", "raise", "acme", "2026-11-29"], "Raise it to what?"),
        (["status", ""], "the id is empty"),
        (["continue"], "What is the agent to be told?"),
        (["steer"], "What is the agent to be told?"),
    ],
)
async def test_wrong_usage_names_what_is_wrong_and_starts_nothing(bare: Shell, words: list[str], named: str) -> None:
    done = await bare.run(*words)
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.count("\n") == 1
    assert named in done.err
    assert await bare.jobs.recent(where=f"TaskQueue = '{bare.task_queue}'") == []


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--where", " "],
        ["list", "--ended", "x"],
        ["costs", "--since", "x"],
        ["steer"],
        ["budgets", "raise", "a", "b"],
    ],
)
async def test_wrong_usage_is_said_before_temporal_is_started_or_asked(bare: Shell, words: list[str]) -> None:
    del bare.env["TEMPORAL_ADDRESS"]
    assert (await bare.run(*words)).code == USAGE
    assert not (bare.folder / "state").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["list"], COMPLETED, "There are no agent runs yet"),
        (["costs"], COMPLETED, "No runs in this time."),
        (["budgets"], COMPLETED, "Nothing is spent"),
        (["status"], USAGE, "There are no agent runs yet"),
        (["watch", "agent-1"], USAGE, "There are no agent runs yet"),
    ],
)
async def test_where_nothing_was_ever_started_nothing_is_started_to_say_so(
    bare: Shell, words: list[str], code: int, told: str
) -> None:
    del bare.env["TEMPORAL_ADDRESS"]
    done = await bare.run(*words)
    assert (done.code, told in done.out + done.err) == (code, True)
    assert not (bare.folder / "state").exists()


async def test_a_setting_that_cannot_be_used_is_wrong_usage(bare: Shell) -> None:
    bare.env["AGENT_RETENTION"] = "soon"
    done = await bare.run("list")
    assert done.code == USAGE
    assert "AGENT_RETENTION" in done.err


@pytest.mark.parametrize("command", ["watch", "status", "result", "cancel"])
async def test_an_unknown_job_is_wrong_usage(bare: Shell, command: str) -> None:
    """A17: in one sentence."""
    done = await bare.run(command, "agent-unknown")
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.count("\n") == 1
    assert "agent-unknown" in done.err


async def test_the_help_of_a_command_is_there_without_temporals_client_and_without_what_draws(bare: Shell) -> None:
    loaded = await bare.modules_loaded_by("run", "--help")
    assert "typer" in loaded
    assert not loaded & {"temporalio", "rich", "typer.rich_utils"}
    assert "--previous-response-id" in (await bare.run("run", "--help")).out
