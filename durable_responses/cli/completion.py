"""`completion`: what makes a shell complete our commands and their options at the tab key."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Annotated, get_args

import typer
from typer.models import OptionInfo

from durable_responses.cli.command import command, parameters_of
from durable_responses.cli.entry import COMMANDS
from durable_responses.cli.output import ExitCode, Output

PROGRAM = "durable-responses"


class ShellName(StrEnum):
    """The shells that there is a completion for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True)
class _Option:
    names: tuple[str, ...]
    choices: tuple[str, ...]
    help: str
    takes_a_value: bool


@command("completion", prints_json=False)
async def completion(
    output: Output,
    shell: Annotated[ShellName, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> ExitCode:
    """Print what makes a shell complete commands and options.

    For bash: `source <(durable-responses completion bash)` in ~/.bashrc; for zsh the same in ~/.zshrc, after compinit;
    for fish: `durable-responses completion fish > ~/.config/fish/completions/durable-responses.fish`.
    """
    output.report("\n".join(_fish() if shell is ShellName.FISH else _bash(zsh=shell is ShellName.ZSH)))
    return ExitCode.COMPLETED


def _options() -> dict[str, list[_Option]]:
    """The options of each command of ours; the programs parse theirs themselves."""
    found = {}
    for name, each in COMMANDS.items():
        parameters = parameters_of(getattr(import_module(each.module), each.function))
        found[name] = [option for parameter in parameters if (option := _option(parameter.annotation)) is not None]
    return found


def _subcommands() -> dict[str, list[str]]:
    """The words that may stand behind a command and are commands themselves."""
    functions = {name: getattr(import_module(each.module), each.function) for name, each in COMMANDS.items()}
    return {name: each.subcommands for name, each in functions.items() if hasattr(each, "subcommands")}


def _option(annotation: object) -> _Option | None:
    """An option, from the annotation that typer reads it from; None for an argument."""
    kind, *told = get_args(annotation)
    info = next((each for each in told if isinstance(each, OptionInfo)), None)
    if info is None:
        return None
    kinds = [kind, *get_args(kind)]
    closed = next((each for each in kinds if isinstance(each, type) and issubclass(each, StrEnum)), None)
    # In an annotation the first name stands where a default would.
    return _Option(
        names=tuple(name for said in (info.default, *(info.param_decls or ())) for name in str(said).split("/")),
        choices=tuple(closed) if closed else (),
        help=(info.help or "").partition(". ")[0].rstrip("."),
        takes_a_value=bool not in kinds,
    )


def _bash(*, zsh: bool) -> Iterator[str]:
    if zsh:
        yield "autoload -U +X bashcompinit && bashcompinit"
    yield "_durable_responses() {"
    yield '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"'
    yield "  COMPREPLY=()"
    yield '  if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f'    COMPREPLY=($(compgen -W "{" ".join([*COMMANDS, "--help", "--version"])}" -- "$current"))'
    yield "    return"
    yield "  fi"
    for name, below in _subcommands().items():
        yield f'  if [ "${{COMP_WORDS[1]}}" = {name} ] && [ "$COMP_CWORD" -eq 2 ] && [[ "$current" != -* ]]; then'
        yield f'    COMPREPLY=($(compgen -W "{" ".join(below)}" -- "$current"))'
        yield "    return"
        yield "  fi"
    yield '  case "${COMP_WORDS[1]} $before" in'
    options = _options()
    for name, own in options.items():
        for option in own:
            if option.choices:
                patterns = "|".join(f'"{name} {each}"' for each in option.names)
                words = " ".join(option.choices)
                yield f'    {patterns}) COMPREPLY=($(compgen -W "{words}" -- "$current")); return ;;'
    yield "  esac"
    yield '  case "${COMP_WORDS[1]} $current" in'
    for name, own in options.items():
        words = " ".join(each for option in own for each in option.names if each.startswith("--"))
        yield f'    "{name} -"*) COMPREPLY=($(compgen -W "{words} --help" -- "$current")) ;;'
    yield "  esac"
    yield "}"
    yield f"complete -o default -F _durable_responses {PROGRAM}"


def _fish() -> Iterator[str]:
    for name, each in COMMANDS.items():
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand -a {name} -d {_quoted(each.help)}"
    for name, below in _subcommands().items():
        yield f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}' -fa {_quoted(' '.join(below))}"
    for name, own in _options().items():
        for option in own:
            words = [f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.names]
            if option.choices:
                words.append(f"-xa {_quoted(' '.join(option.choices))}")
            elif option.takes_a_value:
                words.append("-r")
            place = f"-n '__fish_seen_subcommand_from {name}'"
            yield f"complete -c {PROGRAM} {place} {' '.join(words)} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
