"""Programs that run another program named in their arguments: a deny looks through them.

The kernel judges each exec by itself; this is how the same command is refused in the process, before it starts.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Program -> options that take the next token as their value, and how many words come before the program that is run.
WRAPPERS: dict[str, tuple[frozenset[str], int]] = {
    name: (frozenset(valued.split()), words)
    for name, valued, words in (
        ("env", "-u --unset -C --chdir -a --argv0", 0),
        ("nice", "-n --adjustment", 0),
        ("nohup", "", 0),
        ("setsid", "", 0),
        ("stdbuf", "-i -o -e --input --output --error", 0),
        ("ionice", "-c --class -n --classdata -p -P -u", 0),
        ("chrt", "-T -P -D", 1),
        ("taskset", "", 1),
        ("timeout", "-s --signal -k --kill-after", 1),
        ("time", "-f --format -o --output", 0),
        ("strace", "-e -o -p -s -u -E -a -b -I -O -P -S -U -X", 0),
        ("ltrace", "-e -o -p -s -u -a -A -D -F -l -n -x", 0),
        ("xargs", "-a --arg-file -d --delimiter -E -I -L --max-lines -n --max-args -P --max-procs -s --max-chars", 0),
        ("parallel", "-j --jobs -a --arg-file -S -n -I", 0),
        ("watch", "-n --interval", 0),
        ("flock", "-w --timeout -E --conflict-exit-code", 1),
        ("chroot", "--userspec --groups", 1),
        ("unshare", "-S --setuid -G --setgid -R --root -w --wd", 0),
        ("nsenter", "-t --target -S --setuid -G --setgid", 0),
        ("setpriv", "--reuid --regid --groups --inh-caps --ambient-caps --bounding-set --securebits", 0),
        ("prlimit", "-p --pid", 0),
        ("sudo", "-u --user -g --group -h --host -p --prompt -C -r -t -T -U -D -R", 0),
        ("doas", "-u -C -a", 0),
        ("runuser", "-u --user -g --group -G", 0),
        ("busybox", "", 0),
        ("toybox", "", 0),
        ("command", "", 0),
        ("exec", "-a", 0),
        ("builtin", "", 0),
        ("ld.so", "--library-path --preload --argv0 --inhibit-rpath --audit", 0),
    )
}
# Programs with an option that introduces a command.
_EXEC_OPTIONS: dict[str, tuple[str, ...]] = {
    "find": ("-exec", "-execdir", "-ok", "-okdir"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
}
# A wrapper in a wrapper in a wrapper ...: an argument list may have a hundred thousand words, and each may start one.
# More than this is nobody's command; it is refused rather than looked through in part.
MOST_STARTED = 64


class TooManyError(Exception):
    """The command starts more programs than are looked through: treat it as denied."""


def programs_started(argv: Sequence[str]) -> list[Sequence[str]]:
    """The argument lists of everything that `argv` names as a program to run, `argv` itself first.

    Leading `NAME=value` words are looked through. After an option that is not known both readings are taken (with and
    without a value), so that the answer is too long rather than too short. Raises TooManyError.
    """
    found: list[Sequence[str]] = []
    seen: set[tuple[str, ...]] = set()
    pending: list[Sequence[str]] = [list(argv)]
    while pending:
        words = _without_assignments(pending.pop())
        if not words or tuple(words) in seen:
            continue
        if len(found) + len(pending) > MOST_STARTED:
            raise TooManyError
        seen.add(tuple(words))
        found.append(words)
        pending.extend(reversed(_inner(words)))
    return found


def _inner(words: Sequence[str]) -> list[Sequence[str]]:
    name = words[0].rpartition("/")[2].lower()
    if name.startswith(("ld-linux", "ld-musl", "ld-2")):  # the loader runs the program that it is given
        name = "ld.so"
    if name in _EXEC_OPTIONS:
        places = [at for at, word in enumerate(words) if word in _EXEC_OPTIONS[name]]
        return [words[at + 1 :] for at in places[: MOST_STARTED + 1]]
    wrapper = WRAPPERS.get(name)
    if wrapper is None:
        return []
    split = _split_strings(words) if name == "env" else []
    return split + _after_options(words[1:], *wrapper)


def _split_strings(words: Sequence[str]) -> list[Sequence[str]]:
    """`env -S 'git push'` and its spellings: the string is taken apart by env itself."""
    found: list[Sequence[str]] = []
    for at, word in enumerate(words):
        if len(found) > MOST_STARTED:
            break
        if word in {"-S", "--split-string"} and at + 1 < len(words):
            found.append([*words[at + 1].split(), *words[at + 2 :]])
        elif word.startswith(("-S", "--split-string=", "-vS", "-iS")):
            text = word.partition("=")[2] if word.startswith("--") else word.partition("S")[2]
            found.append([*text.split(), *words[at + 1 :]])
    return found


def _after_options(words: Sequence[str], valued: frozenset[str], before: int) -> list[Sequence[str]]:
    at = 0
    unknown = False
    while at < len(words) and (words[at].startswith("-") or (before == 0 and _assigns(words[at]))):
        if words[at] == "--":
            at += 1
            break
        unknown = unknown or not (words[at] in valued or "=" in words[at])
        at += 2 if words[at] in valued else 1
    starts = [at + before, at + before + 1] if unknown else [at + before]
    return [words[start:] for start in starts if start < len(words)]


def _without_assignments(words: Sequence[str]) -> Sequence[str]:
    at = 0
    while at < len(words) and _assigns(words[at]):
        at += 1
    return words[at:]


def _assigns(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()
