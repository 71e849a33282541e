"""Commands: arguments by the few lists that can differ, programs by file or by automata."""

from __future__ import annotations

from launcher.capability.automaton import path_automaton, path_domain
from launcher.capability.commands import TRUSTED_PATH, CommandPattern
from launcher.capability.constraints import accepts
from launcher.capability.inclusion import DENY, GRANT, counterexample
from launcher.capability.kinds import COMMAND, KINDS, PROGRAM, REPRESENTATIVES
from launcher.capability.paths import PathPattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.automaton import Automaton
    from launcher.capability.containment import Question
    from launcher.capability.paths import Segment

# An argument that no pattern names: what "any further tokens" of a need may be.
_ANY_ARGUMENT = "any-argument"
_EVERY_PATH: tuple[Segment, ...] = (None,)


def command_example(question: Question, need: CommandPattern) -> str | None:
    """A command that the need covers and the grants do not, or None. Raises TooComplexError."""
    lists = _argument_lists(question, need)
    if need.path is not None and need.path.literal is None:
        return _program_example(question, need, lists)
    program = need.path.literal if need.path is not None and need.path.literal else need.tokens[0]
    if need.every:
        program = _ANY_ARGUMENT.replace("argument", "program")
    for arguments in lists:
        argv = [program, *arguments]
        if not _allowed(question, argv):
            return " ".join(argv)
    if need.every:  # a deny of any one program is inside "every program"
        return next((" ".join(argv) for argv in _denied(question) if not _allowed(question, argv)), None)
    return None


def _argument_lists(question: Question, need: CommandPattern) -> list[list[str]]:
    """Argument lists of the need such that all are covered exactly when every one is.

    Token lists have no inner wildcard: only grants that end in "any" and whose tokens begin the need's can cover an
    argument that nobody names; a deny is met by its own words if it is met at all.
    """
    given = list(need.arguments)
    lists = [given]
    if need.final_any:
        lists.append([*given, _ANY_ARGUMENT])
        for words in _denied(question):
            lists.append([*given, *words[1:]])
            lists.append([*given, *words])  # behind a wrapper: `env:*` is also `env git push`
    return lists


def _denied(question: Question) -> list[list[str]]:
    """The tokens of every deny that can mean a command: of `cmd`, and of the interpreters, which mean files too."""
    found: list[list[str]] = []
    for deny in question.permissions.denies:
        if KINDS[deny.type].pattern in {COMMAND, PROGRAM}:
            found += [list(CommandPattern.parse(pattern, question.scope).tokens) for pattern in deny.patterns]
            found += [[REPRESENTATIVES[deny.type]]] if not deny.patterns and deny.type in REPRESENTATIVES else []
    return found


def _allowed(question: Question, argv: list[str]) -> bool:
    need = question.need
    decision = question.permissions.decide(need.type, question.operation, argv, programs=question.programs, now=0)
    return decision.allowed and any(accepts(grant, need) for grant in decision.deciders)


def _program_example(question: Question, need: CommandPattern, lists: list[list[str]]) -> str | None:
    """For each argument list: the files of the need against the files of the patterns that cover that list."""
    domain = path_domain()
    wanted = _files(question, need)
    for arguments in lists:
        rules = [(_files(question, pattern), GRANT) for pattern, _ in question.grants if _covers(pattern, arguments)]
        rules += [
            (_denied_files(pattern), DENY)
            for pattern, _ in question.denies
            if pattern.every or pattern.denies([pattern.tokens[0], *arguments])
        ]
        if question.whole_deny:
            rules.append((path_automaton([_EVERY_PATH]), DENY))
        program = counterexample(wanted, domain, rules)
        if program is not None:
            return " ".join([program, *arguments])
    return None


def _covers(pattern: CommandPattern, arguments: list[str]) -> bool:
    count = len(pattern.arguments)
    return (pattern.final_any or len(arguments) == count) and tuple(arguments[:count]) == pattern.arguments


def _files(question: Question, pattern: CommandPattern) -> Automaton:
    """The files that the program of a pattern may be."""
    if pattern.every:
        return path_automaton([_EVERY_PATH])
    if pattern.path is not None:
        return path_automaton([pattern.path.segments])
    if question.programs is not None:
        files = [question.programs[pattern.program]] if pattern.program in question.programs else []
    else:
        files = [f"{directory}/{pattern.program}" for directory in TRUSTED_PATH]
    return path_automaton([PathPattern(file, question.scope, exact=True).segments for file in files])


def _denied_files(pattern: CommandPattern) -> Automaton:
    """The files that a deny means: that name in any directory, and the glob."""
    if pattern.every:
        return path_automaton([_EVERY_PATH])
    if pattern.path is None:
        return path_automaton([(None, tuple(pattern.program))])
    alternatives: list[tuple[Segment, ...]] = [pattern.path.segments]
    if pattern.path.literal is not None:
        alternatives.append((None, pattern.path.segments[-1]))
    return path_automaton(alternatives)
