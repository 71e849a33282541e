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
    if _root_is_missing(question, need):
        return "/"
    grants = [(pattern, grant) for pattern, grant in question.grants if may_meet(pattern, need)]
    rules = [(_automaton(pattern, question), _role(pattern, grant)) for pattern, grant in grants]
    rules += [(_automaton(pattern, question), DENY) for pattern, _ in question.denies if may_meet(pattern, need)]
    if question.whole_deny:
        rules.append((path_automaton([_EVERY_PATH]), DENY))
    if not need.anchored or not all(pattern.anchored for pattern, _ in grants):
        rules += _view(question, need)
    return counterexample(_automaton(need, question), path_domain(), rules, in_view=not need.anchored)


def path_left(question: Question, pattern: PathPattern) -> bool:
    """Whether anything that the pattern covers is not denied."""
    if () in _alternatives(pattern, question) and not _root_is_denied(question):
        return True
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


def _root_is_missing(question: Question, need: PathPattern) -> bool:
    """Whether the need covers "/" and the grants do not."""
    if () not in _alternatives(need, question):
        return False
    return _root_is_denied(question) or not any(
        () in _alternatives(pattern, question) for pattern, _ in question.grants
    )


def _root_is_denied(question: Question) -> bool:
    return question.whole_deny is not None or any(() in _alternatives(deny, question) for deny, _ in question.denies)


def _alternatives(pattern: PathPattern, question: Question) -> list[tuple[Segment, ...]]:
    """The segments of the pattern, and for `path.read` those of the directory that it lists."""
    listing = question.need.type == "path" and question.operation == "read"
    directory = pattern.listed_directory() if listing else None
    return [pattern.segments, *([directory.segments] if directory else [])]


def _automaton(pattern: PathPattern, question: Question) -> Automaton:
    return path_automaton(_alternatives(pattern, question))


def _view(question: Question, need: PathPattern) -> list[Rule]:
    """What "anywhere in the view" means: the workspace, what anchored grants name, and the private /tmp."""
    scope = question.scope
    granted = [grant for grant in question.permissions.grants if grant.type in {"file", "path"}]
    named = [grant for grant in granted if not grant.policy.startswith(BASE_PREFIX)]
    patterns = [pattern for pattern, _ in parsed(named, scope) if isinstance(pattern, PathPattern) and pattern.anchored]
    patterns += [PathPattern(text, scope) for text in ("@base", "@base/**", *(_PRIVATE if need.anchored else ()))]
    return [(path_automaton([pattern.segments]), VIEW) for pattern in patterns if may_meet(pattern, need)]


def may_meet(left: PathPattern, right: PathPattern) -> bool:
    """False only when no path matches both, by their literal beginnings and ends: most of a policy, for one need.

    A pattern that lists its directory is not judged by its end.
    """
    first, second = left.prefix.rstrip("/") + "/", right.prefix.rstrip("/") + "/"
    if not (first.startswith(second) or second.startswith(first)):
        return False
    tail, other = _ending(left), _ending(right)
    return tail.endswith(other) or other.endswith(tail)


def _ending(pattern: PathPattern) -> str:
    """The literal characters with which every name that the pattern matches ends."""
    ending = ""
    for item in reversed(pattern.segments[-1] or () if pattern.segments else ()):
        if not isinstance(item, str):
            break
        ending = item + ending
    return ending
