"""Help in the conventional form: argparse, built from a command's table. Imported only when somebody asks."""

from __future__ import annotations

import argparse
import textwrap

from launcher.cli.options import COMMON, Command, Dashed, Option, Positional

PROGRAM = "mlsandbox"


def help_text(path: str, command: Command) -> str:
    """The help of `command`, called as `mlsandbox PATH`."""
    return built(path, command).format_help()


def built(path: str, command: Command) -> argparse.ArgumentParser:
    """An argparse parser with the rows of `command`. It says the same; `launcher.cli.options.parse` reads."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {path}".strip(),
        description=command.help,
        epilog=_epilog(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    common = parser.add_argument_group("everywhere")
    for row in command.options:
        if isinstance(row, Option):
            _add_option(common if row in COMMON else parser, row)
        elif isinstance(row, Positional):
            nargs = ("+" if row.required else "*") if row.many else (None if row.required else "?")
            parser.add_argument(row.dest, nargs=nargs, metavar=row.metavar, help=_escaped(row.help),
                                choices=row.choices or None)  # fmt: skip
        else:
            metavar = f"-- {row.metavar}" if isinstance(row, Dashed) else row.metavar
            parser.add_argument(row.dest, nargs="*", metavar=metavar, help=_escaped(row.help))
    return parser


def overview(verbs: dict[str, str], example: str) -> str:
    """The help of the program: its verbs, one line each."""
    width = max(map(len, verbs), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in verbs.items()]
    return "\n".join([
        f"usage: {PROGRAM} [--root DIR] VERB ...",
        "",
        "Runs a job with what an administrator granted, checked by the kernel.",
        "",
        "verbs:",
        *lines,
        "",
        "options:",
        "  --root DIR     keep configuration, state and logs below DIR (MLSANDBOX_ROOT)",
        "  --version      print the version",
        "  -h, --help     show this help",
        "",
        "examples:",
        textwrap.indent(example.strip("\n"), "  "),
        "",
        f"`{PROGRAM} VERB --help` tells more about a verb.",
        "",
    ])  # fmt: skip


def _add_option(parser: argparse._ActionsContainer, row: Option) -> None:
    if row.flag:
        parser.add_argument(*row.names, dest=row.dest, action="store_true", help=_escaped(row.help))
        return
    action = "append" if row.repeat else "store"
    default: list[str] | None = [] if row.repeat else None
    parser.add_argument(*row.names, dest=row.dest, action=action, default=default, metavar=row.metavar,
                        help=_escaped(row.help), choices=row.choices or None)  # fmt: skip


def _epilog(command: Command) -> str:
    parts = []
    if command.commands:
        width = max(map(len, command.commands))
        rows = [f"  {name:<{width}}  {below.help}" for name, below in command.commands.items()]
        parts.append("\n".join(["commands:", *rows]))
    if command.example:
        parts.append("examples:\n" + textwrap.indent(command.example.strip("\n"), "  "))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """argparse formats the help of an argument with `%`."""
    return text.replace("%", "%%")
