"""`mlsandbox completion`: a completion script for a shell, written from the same tables that the parser reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.cli.options import Dashed, Option, Positional
from launcher.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.cli.options import Arguments, Command

HELP = "Print a completion script for your shell."
EXAMPLE = """
source <(mlsandbox completion bash)
mlsandbox completion zsh > ~/.zfunc/_mlsandbox
mlsandbox completion fish > ~/.config/fish/completions/mlsandbox.fish
"""


class Word:
    """One word that may stand at a place, and what it is."""

    __slots__ = ("help", "text")

    def __init__(self, text: str, help: str) -> None:  # noqa: A002  the field's word
        self.text = text
        self.help = " ".join(help.split())


class Place:
    """What may follow the words `path` (`admin policy`).

    `words` are options and the words below; `choices` the values of options and positionals that have a list (the
    option's name, or "" for positionals); `taking` the options whose value is any word or file; `command` whether a
    command of the user's own stands behind `--`.
    """

    __slots__ = ("choices", "command", "path", "taking", "words")

    def __init__(self, path: str, command: Command) -> None:
        self.path = path
        options = [row for row in command.options if isinstance(row, Option)]
        below = [Word(name, item.help) for name, item in command.commands.items()]
        self.words = below + [Word(name, row.help) for row in options for name in row.names]
        self.choices = {name: row.choices for row in options if row.choices for name in row.names}
        for row in command.options:
            if isinstance(row, Positional) and row.choices:
                self.choices[""] = row.choices
        self.taking = [name for row in options if not row.flag for name in row.names]
        self.command = any(isinstance(row, Dashed) for row in command.options)


def places() -> list[Place]:
    """Every place of the command line, the verbs first; the path of that one is ""."""
    from launcher.cli.main import available_verbs, command_of
    from launcher.cli.options import Command

    verbs = {verb: command_of(verb) for verb in available_verbs()}
    top = Place("", Command("mlsandbox", help="", commands=tuple(verbs.values())))
    top.words.append(Word("--version", "print the version"))
    return [top, *(place for verb, command in verbs.items() for place in _below(verb, command))]


def _below(path: str, command: Command) -> Iterator[Place]:
    yield Place(path, command)
    for name, item in command.commands.items():
        yield from _below(f"{path} {name}", item)


# How each shell walks from the first word to the place of the cursor: words below a place lead on, options and their
# values do not, and behind `--` stands a command of its own.
_BASH = """# mlsandbox completion for bash
_mlsandbox() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path="" word at
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $word == -- ]]; then
            declare -F _command_offset >/dev/null && _command_offset $((at + 1))
            return
        fi
        case "$path|$word" in
@PATHS@
        esac
    done
    local words="" choices=""
    case "$path|$prev" in
@CHOICES@
    esac
    case "$path" in
@WORDS@
    esac
    if [[ -n $choices ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -o bashdefault -o default -F _mlsandbox mlsandbox
"""
_ZSH = """#compdef mlsandbox
# mlsandbox completion for zsh
_mlsandbox() {
    local place="" word prev=${words[CURRENT - 1]} at
    local -a known choices
    for ((at = 2; at < CURRENT; at++)); do
        word=${words[at]}
        if [[ $word == -- ]]; then
            shift $at words
            ((CURRENT -= at))
            _normal
            return
        fi
        case "$place|$word" in
@PATHS@
        esac
    done
    case "$place|$prev" in
@CHOICES@
    esac
    if (($#choices)); then
        compadd -a choices
        return
    fi
    case "$place" in
@WORDS@
    esac
    _describe 'mlsandbox' known
    _files
}
if [[ $funcstack[1] == _mlsandbox ]]; then _mlsandbox "$@"; else compdef _mlsandbox mlsandbox; fi
"""
_FISH = """# mlsandbox completion for fish
function __mlsandbox_place
    set -l place ''
    for word in (commandline -opc)[2..]
        switch "$place|$word"
@PATHS@
        end
    end
    test "$place" = "$argv[1]"
end
@WORDS@
"""


def bash(rows: list[Place]) -> str:
    """The script for bash 4 or later."""
    return _filled(
        _BASH,
        paths=_paths(rows, '        {key}) path="{below}" ;;'),
        choices=[f'        {_key(key)}) choices="{" ".join(words)}" ;;' for key, words in _choices(rows)],
        words=[f'        {_key(row.path)}) words="{" ".join(word.text for word in row.words)}" ;;' for row in rows],
    )


def zsh(rows: list[Place]) -> str:
    """The script for zsh 5 or later."""
    return _filled(
        _ZSH,
        paths=_paths(rows, '        {key}) place="{below}" ;;'),
        choices=[f"        {_key(key)}) choices=({' '.join(words)}) ;;" for key, words in _choices(rows)],
        words=[
            f"        {_key(row.path)}) known=({' '.join(_quoted(_described(word)) for word in row.words)}) ;;"
            for row in rows
        ],
    )


def fish(rows: list[Place]) -> str:
    """The script for fish 3 or later."""
    return _filled(
        _FISH,
        paths=_paths(rows, '            case {key}\n                set place "{below}"'),
        choices=[],
        words=[line for row in rows for line in _fish_place(row)],
    )


def _fish_place(place: Place) -> Iterator[str]:
    start = f"complete -c mlsandbox -n '__mlsandbox_place \"{place.path}\"'"
    for word in place.words:
        name = word.text.lstrip("-")
        kind = "-l" if word.text.startswith("--") else "-s" if word.text.startswith("-") else "-a"
        value = " -r" if word.text in place.taking else ""
        if word.text in place.choices:
            value = f" -x -a '{' '.join(place.choices[word.text])}'"
        yield f"{start} {kind} {name}{value} -d {_quoted(word.help)}"
    if "" in place.choices:
        yield f"{start} -x -a '{' '.join(place.choices[''])}'"


def _paths(rows: list[Place], form: str) -> list[str]:
    """One line for each word that leads from a place to the one below it."""
    below = [row.path for row in rows if row.path]
    return [form.format(key=_key(f"{path.rpartition(' ')[0]}|{path.rpartition(' ')[2]}"), below=path) for path in below]


def _choices(rows: list[Place]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for row in rows:
        for name, words in row.choices.items():
            yield f"{row.path}|{name or row.path.rpartition(' ')[2]}", words


def _key(text: str) -> str:
    return f'"{text}"'


def _described(word: Word) -> str:
    return f"{word.text.replace(':', chr(92) + ':')}:{word.help}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _filled(form: str, *, paths: list[str], choices: list[str], words: list[str]) -> str:
    for name, lines in (("@PATHS@", paths), ("@CHOICES@", choices), ("@WORDS@", words)):
        form = form.replace(name, "\n".join(lines) or "        *) ;;")
    return form


SHELLS: dict[str, Callable[[list[Place]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
OPTIONS = (Positional("shell", choices=tuple(SHELLS), help="the shell"),)


def run(arguments: Arguments) -> int:
    """Prints the script."""
    show(SHELLS[arguments.shell](places()).rstrip("\n"))
    return 0
