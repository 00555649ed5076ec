"""The arguments of a program: what is wrong with them is said in one sentence, as by every command."""

import argparse
from typing import NoReturn


class ProgramArguments(argparse.ArgumentParser):
    """A parser that does not print all of its options where one of them is wrong, and takes no shortened names."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Leave the process as for wrong usage, with that message."""
        sentence = message[:1].upper() + message[1:].rstrip(".")
        self.exit(2, f"{sentence}. See `{self.prog} --help`.\n")


def port(text: str) -> int:
    """A port to listen on; 0 is a free one. Raises `ArgumentTypeError`."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return number


def positive(text: str) -> int:
    """A whole number above 0. Raises `ArgumentTypeError`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def not_negative(text: str) -> float:
    """A number that is not below 0. Raises `ArgumentTypeError`."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number
