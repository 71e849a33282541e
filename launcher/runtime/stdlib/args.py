"""ML `args`: the arguments of the program, and a small parser for them."""

from __future__ import annotations

from launcher.runtime.context import current
from launcher.runtime.library import Object
from launcher.runtime.stdlib._declare import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


def _all() -> list[str]:
    return list(current().job.arguments)


def _script() -> str:
    return current().job.name


def _rest() -> list[str]:
    """What follows `--`, which ends the options by custom (POSIX utility syntax, guideline 10)."""
    words = _all()
    return words[words.index("--") + 1 :] if "--" in words else []


class ParsedArgs(Object):
    """What a parser found."""

    __slots__ = ("_flags", "_options", "_positionals", "_values")
    methods: ClassVar = {
        "has": "has",
        "get": "get",
        "get_bool": "get_bool",
        "flags": "flags",
        "options": "options",
        "positionals": "positionals",
    }

    def __init__(
        self, flags: dict[str, bool], options: dict[str, Any], positionals: list[str], named: dict[str, str]
    ) -> None:
        self._flags = flags
        self._options = options
        self._positionals = positionals
        self._values = {**flags, **options, **named}

    def has(self, name: str) -> bool:
        value = self._values.get(name)
        return value is not None and value is not False

    def get(self, name: str, default: Any = None) -> Any:
        value = self._values.get(name)
        return default if value is None else value

    def get_bool(self, name: str) -> bool:
        value = self._values.get(name, False)
        return value.lower() in {"true", "1", "yes", "on"} if isinstance(value, str) else bool(value)

    def flags(self) -> dict[str, bool]:
        return dict(self._flags)

    def options(self) -> dict[str, Any]:
        return dict(self._options)

    def positionals(self) -> list[str]:
        return list(self._positionals)


class ArgParser(Object):
    """Flags, options with a value, and positional arguments."""

    __slots__ = ("_flags", "_name", "_options", "_positionals", "_short", "_text")
    methods: ClassVar = {
        "add_flag": "add_flag",
        "add_option": "add_option",
        "add_positional": "add_positional",
        "parse": "parse",
        "help": "help",
    }

    def __init__(self, name: str | None = None, description: str = "") -> None:
        self._name = name if name is not None else _script()
        self._text = description
        self._flags: dict[str, tuple[str, str]] = {"help": ("h", "Show this help message")}
        self._options: dict[str, tuple[str, str, Any]] = {}
        self._positionals: list[tuple[str, str, bool]] = []
        self._short: dict[str, str] = {"h": "help"}

    def add_flag(self, name: str, short: str | None = None, text: str = "") -> None:
        self._flags[name] = (short or "", text)
        self._name_short(short, name)

    def add_option(self, name: str, short: str | None = None, text: str = "", default: Any = None) -> None:
        self._options[name] = (short or "", text, default)
        self._name_short(short, name)

    def add_positional(self, name: str, text: str = "", required: bool = True) -> None:
        self._positionals.append((name, text, required))

    def _name_short(self, short: str | None, name: str) -> None:
        if short:
            self._short[short.lstrip("-")] = name

    def parse(self, words: list[str] | None = None) -> ParsedArgs:
        """Reads `--name`, `--name value`, `--name=value`, `-n`, `-n value`, and positionals, after `--` only those.

        Raises ValueError for an unknown option, one without its value, and a missing argument.
        """
        flags = dict.fromkeys(self._flags, False)
        options = {name: default for name, (_, _, default) in self._options.items()}
        positionals: list[str] = []
        left = list(_all() if words is None else words)
        while left:
            word = left.pop(0)
            if word == "--":
                positionals += left
                break
            if not word.startswith("-") or word == "-":
                positionals.append(word)
                continue
            name, value = self._named(word)
            if name in self._flags and value is None:
                flags[name] = True
            elif name in self._options:
                options[name] = self._taken(word, left) if value is None else value
            else:
                raise ValueError(f"Unknown option: {word}")
        return ParsedArgs(flags, options, positionals, self._matched(positionals, helping=flags["help"]))

    def _named(self, word: str) -> tuple[str, str | None]:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            return name, value if equals else None
        return self._short.get(word[1:], word), None

    @staticmethod
    def _taken(word: str, left: list[str]) -> str:
        if not left:
            raise ValueError(f"Option {word} requires a value")
        return left.pop(0)

    def _matched(self, positionals: list[str], *, helping: bool) -> dict[str, str]:
        for name, _, required in self._positionals[len(positionals) :]:
            if required and not helping:
                raise ValueError(f"Missing required argument: {name}")
        return {name: value for (name, _, _), value in zip(self._positionals, positionals, strict=False)}

    def help(self) -> str:
        usage = [f"[{name}]" if not required else name for name, _, required in self._positionals]
        lines = [" ".join([f"Usage: {self._name} [options]", *usage])]
        if self._text:
            lines += ["", self._text]
        if self._positionals:
            lines += ["", "Arguments:", *[_help_line(name, text) for name, text, _ in self._positionals]]
        lines += ["", "Options:"]
        lines += [_help_line(_spelled(short, name), text) for name, (short, text) in self._flags.items()]
        for name, (short, text, default) in self._options.items():
            shown = text if default is None else f"{text} (default: {default})"
            lines.append(_help_line(f"{_spelled(short, name)} VALUE", shown.strip()))
        return "\n".join(lines)


def _spelled(short: str, name: str) -> str:
    return f"-{short.lstrip('-')}, --{name}" if short else f"--{name}"


def _help_line(left: str, right: str) -> str:
    return f"  {left:<24} {right}".rstrip()


def _create_parser(name: str | None = None, description: str = "") -> ArgParser:
    return ArgParser(name, description)


MODULE = module(
    "args",
    "The arguments of the program.",
    (
        ("all", _all, "args.read", "all(): the arguments"),
        ("script", _script, "args.read", "script(): the name of the program"),
        ("rest", _rest, "args.read", "rest(): the arguments after --"),
        ("create_parser", _create_parser, "", "create_parser([name, description]): an ArgParser"),
    ),
)
