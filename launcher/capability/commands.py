"""Command patterns: lists of tokens. Allow matches narrowly, deny broadly (design section 5, "Commands").

No shell text is parsed: an argument list is judged as the kernel will get it.
"""

from __future__ import annotations

from launcher.capability.kinds import interpreter_type
from launcher.capability.paths import PathPattern
from launcher.capability.scope import canonical_path
from launcher.capability.wrappers import TooManyError, programs_started
from launcher.errors import DocumentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from launcher.capability.grant import type_pattern
    from launcher.capability.scope import Scope

# Where a bare name is looked for. The trusted side looks once and hands the result in as `programs`.
TRUSTED_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_QUOTES = frozenset("'\"`")


class CommandPattern:
    """`tokens` and whether any further tokens may follow (`final_any`).

    The first token is a bare name (`program`), a path glob (`path`), or `*`: every program in view. The others are
    literal.
    """

    __slots__ = ("arguments", "every", "final_any", "path", "program", "scope", "text", "tokens")

    def __init__(self, tokens: tuple[str, ...], final_any: bool, scope: Scope, *, exact: bool = False) -> None:
        self.tokens = tokens
        self.final_any = final_any
        self.scope = scope
        self.text = " ".join(tokens) + (":*" if final_any and len(tokens) > 1 else "")
        self.arguments = tokens[1:]
        self.every = tokens[0] == "*" and not exact
        self.path = PathPattern(tokens[0], scope, exact=exact) if "/" in tokens[0] else None
        self.program = "" if self.every or self.path else tokens[0]

    @classmethod
    def parse(cls, pattern: type_pattern, scope: Scope) -> CommandPattern:
        """pattern = program { " " argument } [ ":*" ]; a list of tokens is exact, token by token.

        A program alone stands for the program with anything after it. Raises DocumentError.
        """
        if not isinstance(pattern, str):
            return cls._exact(tuple(pattern), scope)
        text = pattern.strip()
        final_any = text.endswith(":*")
        tokens = tuple((text[:-2] if final_any else text).split())
        if not tokens or (final_any and text[-3:-2].isspace()):
            _refuse(pattern, "names no program before `:*`", "write `git:*`, or `*` for every program in view")
        _check_tokens(tokens, pattern)
        return cls(tokens, final_any or len(tokens) == 1, scope)

    @classmethod
    def _exact(cls, tokens: tuple[str, ...], scope: Scope) -> CommandPattern:
        if not tokens or not tokens[0] or any("\0" in token for token in tokens):
            _refuse(" ".join(tokens), "is an empty list, or holds NUL", "write [program, argument, ...]")
        return cls(tokens, final_any=False, scope=scope, exact=True)

    def matches(self, argv: Sequence[str], programs: Mapping[str, str] | None = None) -> bool:
        """Narrowly: exactly this program, by file, with exactly these arguments (and more after `:*`).

        A bare name stands for the file that the trusted PATH gives it: `programs` (name to canonical file) says which;
        without it, that name directly in a directory of the trusted PATH.
        """
        given = tuple(argv[1:])
        count = len(self.arguments)
        if (len(given) != count and not self.final_any) or given[:count] != self.arguments:
            return False
        return bool(argv) and bool(argv[0]) and self.matches_program(argv[0], programs)

    def matches_program(self, program: str, programs: Mapping[str, str] | None = None) -> bool:
        """Whether the program alone is covered."""
        if self.every:
            return True
        if "/" not in program:
            if self.program:
                return program == self.program
            file = (programs or {}).get(program, "")
            return bool(file) and self.path is not None and self.path.matches(file)
        try:
            file = canonical_path(program, self.scope) if not program.startswith("/") else program
        except UsageError:
            return False
        if self.path is not None:
            return self.path.matches(file)
        if programs is not None:
            return programs.get(self.program) == file
        directory, _, name = file.rpartition("/")
        return name == self.program and directory in TRUSTED_PATH

    def denies(self, argv: Sequence[str]) -> bool:
        """Broadly: any spelling, wrapper or order of options by which the denied command would be executed."""
        try:
            return any(self.denies_alone(started) for started in programs_started(argv))
        except TooManyError:
            return True

    def denies_alone(self, argv: Sequence[str]) -> bool:
        """Whether the deny means this very program and its arguments, whatever they may start in turn."""
        if not self.denies_program(argv[0]):
            return False
        wanted = [token.lower() for token in self.arguments]
        given = [token.lower() for token in argv[1:]]
        return options(wanted) <= options(given) and words_follow([w for w in wanted if w[:1] != "-"], given)

    def denies_program(self, program: str) -> bool:
        """Whether a deny means this program: by file name in any case and directory, or by the path glob."""
        if self.every:
            return True
        name = program.rpartition("/")[2].lower()
        if self.path is None:
            return name == self.program.lower()
        if self.path.literal is not None and self.path.literal.rpartition("/")[2].lower() == name:
            return True
        if "/" in program:
            try:
                return self.path.matches(canonical_path(program, self.scope))
            except UsageError:
                return True
        return any(self.path.matches(f"{directory}/{program}") for directory in TRUSTED_PATH)

    def __repr__(self) -> str:
        return f"CommandPattern({self.tokens!r}, {self.final_any})"


def options(tokens: Sequence[str]) -> set[str]:
    """The options among the tokens: clusters taken apart (`-rf` is `-r -f`), values cut off (`--a=b` is `--a`)."""
    found: set[str] = set()
    for token in tokens:
        if token.startswith("--"):
            found.add(token.partition("=")[0])
        elif token.startswith("-"):
            found.update([f"-{letter}" for letter in token[1:]])
    return found


def words_follow(words: Sequence[str], given: Sequence[str]) -> bool:
    """Whether `given` begins with `words`, options and one value behind each skipped: `git -C dir push`."""
    at = 0
    skippable = False
    for word in given:
        if at == len(words):
            return True
        if word == words[at]:
            at += 1
            skippable = False
        elif word.startswith("-"):
            skippable = True
        elif skippable:
            skippable = False
        else:
            return False
    return at == len(words)


def is_shell(program: str) -> bool:
    """Whether the program is a shell by its file name: `sh` is its own capability."""
    return interpreter_type(program) == "sh"


def _check_tokens(tokens: tuple[str, ...], pattern: str) -> None:
    if _QUOTES.intersection(pattern):
        _refuse(
            pattern, "holds a quote", "tokens are separated by blanks alone; write a list: [git, commit, -m, 'a b']"
        )
    if "\0" in pattern:
        _refuse(pattern, "holds NUL", "no argument can")
    for at, word in enumerate(tokens):
        if "*" in word and (at or ("/" not in word and word != "*")):
            _refuse(pattern, f"has a wildcard in {word!r}", "`*` means something in a path, or as a final `:*`")
    if tokens[0] == "*" and len(tokens) > 1:
        _refuse(pattern, "gives arguments to every program", "name the program")


def _refuse(pattern: str, what: str, hint: str) -> NoReturn:
    raise DocumentError(f"command pattern {pattern[:200]!r} {what}", hint=hint)
