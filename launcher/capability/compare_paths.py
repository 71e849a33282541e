"""Paths and names: the automata of one question, and its answer."""

from __future__ import annotations

from launcher.capability.automaton import name_automaton, name_domain, path_automaton, path_domain
from launcher.capability.inclusion import DENY, EXEMPT, GRANT, VIEW, VIEW_EXEMPT, VIEW_GRANT, counterexample
from launcher.capability.kinds import BASE_PREFIX
from launcher.capability.paths import PathPattern
from launcher.capability.rules import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.capability.automaton import Automaton
    from launcher.capability.containment import Question
    from launcher.capability.grant import Grant
    from launcher.capability.names import NamePattern
    from launcher.capability.paths import Segment

    Rule = tuple[Automaton, str]

# The job's private /tmp is in every view and granted to everybody: a need for "anywhere in the view" leaves it out.
_PRIVATE = ("/tmp", "/tmp/**")  # noqa: S108  a pattern, not a file
_EVERY_PATH: tuple[Segment, ...] = (None,)


def path_example(question: Question, need: PathPattern) -> str | None:
    """A path that the need covers and the grants do not, or None. Raises TooComplexError."""
    rules = [(_automaton(pattern, question), _role(pattern, grant)) for pattern, grant in question.grants]
    rules += [(_automaton(pattern, question), DENY) for pattern, _ in question.denies]
    if question.whole_deny:
        rules.append((path_automaton([_EVERY_PATH, ()]), DENY))
    if not need.anchored or not all(pattern.anchored for pattern, _ in question.grants):
        rules += _view(question, private=need.anchored)
    return counterexample(_automaton(need, question), path_domain(), rules, in_view=not need.anchored)


def path_left(question: Question, pattern: PathPattern) -> bool:
    """Whether anything that the pattern covers is not denied."""
    denies = [(_automaton(deny, question), GRANT) for deny, _ in question.denies]
    return counterexample(_automaton(pattern, question), path_domain(), denies) is not None


def name_example(question: Question, need: NamePattern) -> str | None:
    """A name that the need covers and the grants do not, or None. Raises TooComplexError."""
    rules = [(name_automaton(pattern.segments), _role(pattern, grant)) for pattern, grant in question.grants]
    rules += [(name_automaton(pattern.segments), DENY) for pattern, _ in question.denies]
    if question.whole_deny:
        rules.append((name_automaton(_EVERY_PATH), DENY))
    return counterexample(name_automaton(need.segments), name_domain(), rules)


def name_left(question: Question, pattern: NamePattern) -> bool:
    """Whether anything that the pattern covers is not denied."""
    denies = [(name_automaton(deny.segments), GRANT) for deny, _ in question.denies]
    return counterexample(name_automaton(pattern.segments), name_domain(), denies) is not None


def _role(pattern: PathPattern | NamePattern, grant: Grant) -> str:
    anchored = not isinstance(pattern, PathPattern) or pattern.anchored
    if grant.policy.startswith(BASE_PREFIX):
        return EXEMPT if anchored else VIEW_EXEMPT
    return GRANT if anchored else VIEW_GRANT


def _automaton(pattern: PathPattern, question: Question) -> Automaton:
    alternatives = [pattern.segments]
    if question.need.type == "path" and question.operation == "read":
        directory = pattern.listed_directory()
        alternatives += [directory.segments] if directory else []
    return path_automaton(alternatives)


def _view(question: Question, *, private: bool) -> list[Rule]:
    """What "anywhere in the view" means: the workspace, what anchored grants name, and the private /tmp."""
    scope = question.scope
    granted = [grant for grant in question.permissions.grants if grant.type in {"file", "path"}]
    named = [grant for grant in granted if not grant.policy.startswith(BASE_PREFIX)]
    patterns = [pattern for pattern, _ in parsed(named, scope) if isinstance(pattern, PathPattern) and pattern.anchored]
    patterns += [PathPattern(text, scope) for text in ("@base", "@base/**", *(_PRIVATE if private else ()))]
    return [(path_automaton([pattern.segments]), VIEW) for pattern in patterns]
