"""Command lines as tables: what a verb takes is data, and one small parser reads it.

argparse costs 12 ms to import, more than the rest of a launch's imports; it is built from the same tables only to print
help (`launcher.cli.usage`). The conventions are its and getopt's: `--option V`, `--option=V`, `-o V`, `-oV`, `-abc` for
flags, options and positionals in any order, `--` ends the options. Nothing is abbreviated, and words are never split,
so that a name with blanks, line feeds or dashes stays one word (attack 101).
"""

from __future__ import annotations

from launcher.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


class Option:
    """`Option("--user", "-u", metavar="NAME", help="...")` takes a value, a flag where `flag` is set.

    The value is a `str` (None where absent), a `list[str]` with `repeat`, a `bool` for a flag. `choices` are the words
    allowed. The attribute is the first name without dashes, `-` as `_`.
    """

    __slots__ = ("choices", "dest", "flag", "help", "metavar", "names", "repeat")

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002  argparse's own word
        metavar: str = "",
        flag: bool = False,
        repeat: bool = False,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.names = names
        self.help = help
        self.dest = names[0].lstrip("-").replace("-", "_")
        self.metavar = metavar or self.dest.upper()
        self.flag = flag
        self.repeat = repeat
        self.choices = choices

    def initial(self) -> object:
        return False if self.flag else [] if self.repeat else None


class Positional:
    """A word by its place. `required=False`: None where absent; `many`: a list of all that are left."""

    __slots__ = ("choices", "dest", "help", "many", "metavar", "required")

    def __init__(
        self,
        dest: str,
        *,
        help: str,  # noqa: A002  argparse's own word
        metavar: str = "",
        required: bool = True,
        many: bool = False,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.dest = dest
        self.help = help
        self.metavar = metavar or dest.upper()
        self.required = required
        self.many = many
        self.choices = choices


class Rest:
    """Every word after the positionals, untouched: the arguments of a job (`launch job.ml --its-own-option`)."""

    __slots__ = ("dest", "help", "metavar")

    def __init__(self, dest: str, *, help: str, metavar: str = "ARGS") -> None:  # noqa: A002  argparse's own word
        self.dest = dest
        self.help = help
        self.metavar = metavar


class Dashed:
    """Every word after `--`, untouched: a command (`launch -- pytest -q`). None where there is no `--`."""

    __slots__ = ("dest", "help", "metavar")

    def __init__(self, dest: str, *, help: str, metavar: str = "CMD") -> None:  # noqa: A002  argparse's own word
        self.dest = dest
        self.help = help
        self.metavar = metavar


class Command:
    """One verb, or one word below a verb: `options` is its table, `run` what it does, `commands` the words below it.

    `help` is a sentence, `example` one or more command lines.
    """

    __slots__ = ("commands", "example", "help", "name", "options", "run")

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002  argparse's own word
        example: str = "",
        options: Sequence[Option | Positional | Rest | Dashed] = (),
        run: Callable[[Arguments], int] | None = None,
        commands: Sequence[Command] = (),
    ) -> None:
        self.name = name
        self.help = help
        self.example = example
        self.options = (*options, *COMMON)
        self.run = run
        self.commands = {command.name: command for command in commands}


class Arguments:
    """What was written: one attribute per option and positional of the table."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __repr__(self) -> str:
        return f"Arguments({self.__dict__})"


COMMON: tuple[Option, ...] = (
    Option("--json", flag=True, help="print JSON for programs"),
    Option("--root", metavar="DIR", help="keep configuration, state and logs below DIR (MLSANDBOX_ROOT)"),
    Option("--help", "-h", flag=True, help="show this help"),
)


def parse(command: Command, words: Sequence[str]) -> Arguments:
    """The arguments that `words` (without the verb) mean. Raises UsageError.

    With `--help` among the options the rest is not checked: `arguments.help` is true.
    """
    return _Parser(command).parse(words)


class _Parser:
    __slots__ = ("_arguments", "_dashed", "_positionals", "_rest", "_seen", "_table", "_words")

    def __init__(self, command: Command) -> None:
        self._arguments = Arguments()
        self._positionals: list[Positional] = []
        self._rest: Rest | None = None
        self._dashed: Dashed | None = None
        self._table: dict[str, Option] = {}
        self._seen: set[str] = set()
        self._words: list[str] = []
        for row in command.options:
            self._add(row)

    def _add(self, row: Option | Positional | Rest | Dashed) -> None:
        initial: object = None
        if isinstance(row, Option):
            initial = row.initial()
            self._table.update(dict.fromkeys(row.names, row))
        elif isinstance(row, Positional):
            initial = [] if row.many else None
            self._positionals.append(row)
        elif isinstance(row, Rest):
            self._rest, initial = row, []
        else:
            self._dashed = row
        setattr(self._arguments, row.dest, initial)

    def parse(self, words: Sequence[str]) -> Arguments:
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                self._end(words[at:])
                break
            if word.startswith("--"):
                at += self._long(word, words[at:])
            elif word.startswith("-") and word != "-":
                at += self._short(word, words[at:])
            else:
                self._words.append(word)
                if self._rest is not None and len(self._words) == len(self._positionals):
                    setattr(self._arguments, self._rest.dest, list(words[at:]))
                    break
        if not self._arguments.help:
            self._place()
        return self._arguments

    def _end(self, words: Sequence[str]) -> None:
        if self._dashed is not None:
            setattr(self._arguments, self._dashed.dest, list(words))
        else:
            self._words.extend(words)

    def _long(self, word: str, following: Sequence[str]) -> int:
        """One `--option`; how many following words it took."""
        name, equals, value = word.partition("=")
        option = self._find(name)
        if option.flag:
            if equals:
                raise UsageError(f"{name} takes no value", hint=f"write {name}")
            self._set(option, name, value=True)
            return 0
        if equals:
            self._set(option, name, value)
            return 0
        self._set(option, name, self._following(name, following))
        return 1

    def _short(self, word: str, following: Sequence[str]) -> int:
        """`-o V`, `-oV` or flags `-abc`; how many following words were taken."""
        for at, letter in enumerate(word[1:], 1):
            name = "-" + letter
            option = self._find(name, word)
            if option.flag:
                self._set(option, name, value=True)
                continue
            if word[at + 1 :]:
                self._set(option, name, word[at + 1 :])
                return 0
            self._set(option, name, self._following(name, following))
            return 1
        return 0

    def _following(self, name: str, words: Sequence[str]) -> str:
        if not words:
            raise UsageError(f"{name} needs a value", hint=f"write {name} {self._table[name].metavar}")
        if words[0] == "--" or words[0].partition("=")[0] in self._table:
            glued = f"{name}={words[0]}" if name.startswith("--") else f"{name}{words[0]}"
            raise UsageError(f"{name} needs a value before {words[0]}", hint=f"if {words[0]} is the value: {glued}")
        return words[0]

    def _find(self, name: str, word: str = "") -> Option:
        option = self._table.get(name)
        if option is None:
            from launcher.audit.printable import printable

            raise UsageError(
                f"there is no option {printable(word or name)}", hint=did_you_mean(word or name, self._table)
            )
        return option

    def _set(self, option: Option, name: str, value: str | bool) -> None:
        _check_choice(name, option.choices, value)
        if option.repeat:
            getattr(self._arguments, option.dest).append(value)
            return
        if option.dest in self._seen and not option.flag:
            raise UsageError(f"{name} is given twice", hint="leave one of them out")
        self._seen.add(option.dest)
        setattr(self._arguments, option.dest, value)

    def _place(self) -> None:
        words = self._words
        for row in self._positionals:
            taken = words if row.many else words[:1]
            if not taken and row.required:
                raise UsageError(f"{row.metavar} is missing", hint=row.help)
            for word in taken:
                _check_choice(row.metavar, row.choices, word)
            if row.many:
                setattr(self._arguments, row.dest, taken)
            elif taken:
                setattr(self._arguments, row.dest, taken[0])
            words = words[len(taken) :]
        if words:
            raise UsageError(f"one word too many: {words[0]}", hint="write `--` before the words of a command")


def _check_choice(name: str, choices: tuple[str, ...], value: str | bool) -> None:
    if choices and value not in choices:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(choices)}", hint=did_you_mean(str(value), choices))


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`did you mean X?`: the only word that begins so, else the nearest; "" where none is near."""
    from launcher.capability.suggest import suggest

    known = list(words)
    begun = [item for item in known if len(word) > 2 and item.startswith(word)]
    near = begun[0] if len(begun) == 1 else suggest(word, known)
    return f"did you mean {near}?" if near else ""
