"""The parser of the command line, made from the table of `resexpand.cli.options`.

Values stay text here: reading them needs SymPy. A hyperparameter is an exact number (``0.1`` is
1/10; ``1/3``, ``sqrt(2)`` and ``pi/4`` work too), a list ``a,b,c``, or a range ``first:last:count``
with both ends included. Lists and ranges of several hyperparameters span a grid.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from resexpand.cli.options import COMMANDS, SECTIONS
from resexpand.cli.output import remark, write

_EPILOG = (
    "Numbers are exact: 0.1 is 1/10, and 1/3, sqrt(2), pi/4 are understood. Write --option=VALUE "
    "when the value begins with a minus sign."
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and whose help is an answer."""

    def print_help(self, file: Any = None) -> None:
        """Write the help; argparse would not say that it could not."""
        write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on; exit with code 2."""
        remark(f"error: {message}; see '{self.prog} --help'")
        self.exit(2)


class _Version(argparse.Action):
    """Print the version; found only when asked for."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        from resexpand import __version__

        write(f"resexpand {__version__}\n")
        parser.exit(0)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command names the module of `resexpand.cli` that runs it."""
    parser = Parser(
        prog="resexpand",
        description="Derive, compile, sample and judge the theory of residual networks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.required = True
    sections = dict(_blocks(SECTIONS))
    actions: Any = None
    for head, items in _blocks(COMMANDS):
        names, module, description = re.split(r" (\w+_commands?|-) ", head, maxsplit=1)
        sentence = re.split(r"(?<=\.) (?=[A-Z])", description)[0]
        command = (actions if " " in names else commands).add_parser(
            names.rpartition(" ")[2],
            help=sentence[0].lower() + sentence[1:].rstrip("."),
            description=description,
            epilog=_EPILOG if items else None,
            allow_abbrev=False,
        )
        if not items:  # a command with actions, which follow
            actions = command.add_subparsers(title="actions", metavar="ACTION", dest="action")
            actions.required = True
            continue
        command.set_defaults(module=module)
        _fill(command, list(_items(items, sections)))
    return parser


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the head and the items of every command or section."""
    lines = re.sub(r"\n {4}", " ", text)
    for block in re.split(r"\n(?=\S)", lines.strip()):
        head, *items = block.split("\n  ")
        yield head, items


def _items(items: list[str], sections: dict[str, list[str]]) -> Iterator[str]:
    """Yield the items, those of sections in place of their names."""
    for item in items:
        yield from _items(sections[item], sections) if item in sections else (item,)


def _fill(parser: argparse.ArgumentParser, items: list[str]) -> None:
    group: Any = parser
    exclusive: Any = None
    for item in items:
        if item.startswith("["):
            group = parser.add_argument_group(item[1:-1]) if item != "[]" else parser
        elif item.startswith("or "):
            exclusive = exclusive or group.add_mutually_exclusive_group()
            _add(exclusive, item.removeprefix("or "))
        else:
            _add(group, item)


def _add(group: Any, item: str) -> None:
    """Add the argument of an item; its help ends with its default, unless it says it itself."""
    head, _, text = item.partition("  ")
    first, *rest = head.split()
    names = [first, *(word for word in rest if word.startswith("--"))]
    how: dict[str, Any] = {"help": text or None}
    for word in rest[len(names) - 1 :]:
        if word == "!":
            how["required"] = True
        elif word.startswith("="):
            how["default"] = word[1:]
        elif word.startswith("{"):
            how["choices"] = tuple(word[1:-1].split(","))
        else:
            how["metavar"] = word.rstrip("*+")
            how |= {"nargs": word[-1]} if word[-1] in "*+" else {}
    if not rest:
        how["action"] = "store_true"
    if "default" in how and "default" not in text:
        how["help"] += " (default: %(default)s)"
    group.add_argument(*names, **how)
