"""The one error boundary, and the table of verbs. Nothing else turns an error into words and an exit status.

A verb is a module `launcher.cli.VERB`, imported when it is called, with `HELP`, `OPTIONS`, `run(arguments) -> int`, and
where useful `EXAMPLE` and `COMMANDS` (the words below the verb).
"""

from __future__ import annotations

import os
import sys

from launcher.cli.options import Command, parse
from launcher.errors import EXIT_LAUNCHER, SandboxError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from launcher.cli.options import Arguments

DEBUG = "MLSANDBOX_DEBUG"
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: what a shell shows for a program that the signal ended
# Design section 11. A verb is offered where its module exists.
VERBS = {
    "init": "make configuration, id ranges, the operators' group and a first policy",
    "launch": "run a job with what its user is granted",
    "shell": "open a terminal inside the same sandbox",
    "check": "compare what a job declares with what is granted, without running it",
    "explain": "show the profile of a job and where each permission comes from",
    "fmt": "format ML programs",
    "repl": "try ML in the sandbox that a job would have",
    "learn": "find the minimal policy with which a job passes",
    "doctor": "say what this host can enforce, and how to get what is missing",
    "selftest": "try to break out, and report what held",
    "login": "store a token",
    "logout": "forget the stored token",
    "completion": "print a completion script for a shell",
    "whoami": "show who you are and what you are granted",
    "admin": "manage policies and grants",
    "audit": "verify, show, rotate and sign the audit log",
    "service": "run the launcher as a service",
    "ps": "list the jobs that run now, and what they use",
    "top": "watch jobs, usage and denials as they happen",
    "submit": "queue a job",
    "jobs": "list jobs",
    "logs": "show the output of a job",
    "wait": "wait for jobs",
    "results": "show the results of jobs",
    "cancel": "stop a job",
    "export": "write a profile as an OCI bundle or a unit",
    "image": "manage root filesystems for containers",
}
# Scripts read the last line of stderr of these (design section 11).
ENDING = ("launch", "shell")
EXAMPLES = (
    "mlsandbox init",
    "mlsandbox launch job.ml",
    "mlsandbox launch -- pytest -q",
    "mlsandbox explain job.ml",
    "mlsandbox audit show --since 1h",
)


def main(words: Sequence[str]) -> int:
    """Run `words` (without the program's name); the exit status. Never raises, but for SystemExit."""
    verb, wants_json = "", False
    try:
        _hold_standard_descriptors()
        _refuse_nul(words)
        root, verb, rest = _split(words)
        wants_json = "--json" in (rest if "--" not in rest else rest[: rest.index("--")])
        if root:
            os.environ["MLSANDBOX_ROOT"] = root  # what `--root` after the verb and child processes read as well
        status = _run(verb, rest)
        _flush()
        return status
    except SandboxError as error:
        return _failed(error, verb, wants_json=wants_json)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  the boundary: a bug gets one paragraph, not a traceback
        return _bug(error, verb)


def _refuse_nul(words: Sequence[str]) -> None:
    """exec(2) cannot pass one, a program that calls `main` can; no name of anything holds one."""
    if any("\0" in word for word in words):
        raise UsageError("an argument holds a NUL character")


def _hold_standard_descriptors() -> None:
    """What is missing of 0, 1 and 2 is /dev/null.

    Started with 2 closed, the next file that is opened, the audit log, would get that number, and with it the messages
    of every child.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is fd
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for the whole process


def _flush() -> None:
    """What was printed is printed, or it is an error: a full disk must not look like success."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up_output()
        raise SandboxError(f"cannot write the output: {error.strerror}") from error


def _split(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """The global options before the verb: (root, verb, the words after the verb)."""
    root, at = "", 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        if name != "--root":
            break
        at += 1
        if not equals:
            if at == len(words):
                raise UsageError("--root needs a value", hint="write --root DIR")
            value, at = words[at], at + 1
        root = value
    verb = words[at] if at < len(words) else ""
    return root, verb, list(words[at + 1 :])


def _run(verb: str, words: Sequence[str]) -> int:
    if verb in ("", "--help", "-h", "help"):
        return _help(verb, words)
    if verb == "--version":
        return _version()
    return _execute(command_of(verb), verb, words)


def _execute(command: Command, path: str, words: Sequence[str]) -> int:
    """Go down to the word below the verb that is meant, and run it."""
    while command.commands and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            from launcher.audit.printable import printable

            message = f"`mlsandbox {path}` has no command {printable(words[0])}"
            raise _unknown(message, f"mlsandbox {path}", words[0], list(command.commands))
        command = command.commands[words[0]]
        path, words = f"{path} {command.name}", words[1:]
    arguments = _parsed(command, path, words)
    if arguments.help:
        from launcher.cli.output import show
        from launcher.cli.usage import help_text

        show(help_text(path, command).rstrip("\n"))
        return 0
    if command.run is None:
        raise UsageError(
            f"mlsandbox {path} needs one of: {', '.join(command.commands)}", hint=f"try `mlsandbox {path} --help`"
        )
    if arguments.root:
        os.environ["MLSANDBOX_ROOT"] = arguments.root
    return command.run(arguments)


def _parsed(command: Command, path: str, words: Sequence[str]) -> Arguments:
    try:
        return parse(command, words)
    except UsageError as error:
        error.hint = _with_help(error.hint, f"mlsandbox {path}")
        raise


def command_of(verb: str) -> Command:
    """The command of a verb, from its module."""
    if verb not in VERBS or not _exists(verb):
        from launcher.audit.printable import printable

        raise _unknown(f"there is no verb {printable(verb)}", "mlsandbox", verb, list(available_verbs()))
    module = _module(verb)
    return Command(
        verb,
        help=module.HELP,
        example=getattr(module, "EXAMPLE", ""),
        options=getattr(module, "OPTIONS", ()),
        run=getattr(module, "run", None),
        commands=getattr(module, "COMMANDS", ()),
    )


def _module(verb: str) -> ModuleType:
    name = f"launcher.cli.{verb}"
    __import__(name)  # importlib would cost 0.6 ms
    return sys.modules[name]


def available_verbs() -> dict[str, str]:
    """The verbs whose module exists, with their one line."""
    return {verb: text for verb, text in VERBS.items() if _exists(verb)}


def _exists(verb: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(__file__), f"{verb}.py"))


def _unknown(message: str, program: str, word: str, words: list[str]) -> UsageError:
    from launcher.cli.options import did_you_mean

    return UsageError(message, hint=_with_help(did_you_mean(word, words), program))


def _with_help(hint: str, program: str) -> str:
    """`hint` and, as click and GNU programs say it, where the help is."""
    end = "" if not hint or hint.endswith("?") else "."
    return f"{hint}{end} Try `{program} --help`".lstrip()


def _help(verb: str, words: Sequence[str]) -> int:
    from launcher.cli.output import show
    from launcher.cli.usage import overview

    if verb == "help" and words and not words[0].startswith("-"):
        return _execute(command_of(words[0]), words[0], [*words[1:], "--help"])
    verbs = available_verbs()
    examples = [row for row in EXAMPLES if row.split()[1] in verbs]
    show(overview(verbs, "\n".join(examples)).rstrip("\n"), sys.stdout if verb else sys.stderr)
    return 0 if verb else UsageError.status


def _version() -> int:
    from launcher.cli.output import show
    from launcher.cli.version import version

    show(f"mlsandbox {version()}")
    return 0


def _failed(error: SandboxError, verb: str, *, wants_json: bool) -> int:
    from launcher.cli.output import problem, show, show_json

    try:
        if wants_json:
            show_json({"error": {"message": error.message, "hint": error.hint, "place": error.place,
                                 "status": error.status, "ended_by": error.ended_by}})  # fmt: skip
        problem(error.message, verb=verb if verb in VERBS else "", hint=error.hint, place=error.place)
        if verb in ENDING:
            show(f"ended_by: {error.ended_by}", sys.stderr)
    except BrokenPipeError:
        _give_up_output()
    return error.status


def _bug(error: Exception, verb: str) -> int:
    """One paragraph: what failed, that it is ours, and how to report it."""
    from launcher.cli.output import problem, show

    problem(
        f"internal error: {type(error).__name__}: {error}\nThis is a bug in mlsandbox, not in your job or policy.",
        verb=verb if verb in VERBS else "",
        hint=f"report it as SECURITY.md says, with the output of the same command under {DEBUG}=1",
    )
    if os.environ.get(DEBUG) == "1":
        import traceback

        traceback.print_exception(error)
    if verb in ENDING:
        show("ended_by: launcher", sys.stderr)
    return EXIT_LAUNCHER


def _give_up_output() -> None:
    """The reader went away: what is still buffered must not raise again when it is flushed."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
