"""What each exec is held against, after the kernel has put the new image in place and before it runs an instruction.

Then nothing can be exchanged any more: the process has one thread and a fresh address space, the image is
/proc/PID/exe, the arguments stand on its new stack, and no process of the sandbox can write there (process_vm_writev
and ptrace are refused by the filter, writing /proc/PID/mem by Landlock). Checking the arguments of the system call
instead can be raced by a thread, a vfork parent or a shared page (kernel-facts 4).
"""

from __future__ import annotations

import os
import sys
import time

from launcher.enforce.namespace.plan.programs import starts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.capability.permissions import Permissions
    from launcher.enforce.namespace.plan.programs import Programs

_ST_RDONLY = 1
_LONGEST_LINE = 8 << 20  # fs/exec.c: arguments and environment together are at most 3/4 of _STK_LIM, 6 MiB
_MOST_OPTIONS = 8  # words between an interpreter and its script: one, or what `env -S` splits


class Image:
    """One started image: the canonical file, its argument list, the working directory, (device, inode) of the file."""

    __slots__ = ("arguments", "cwd", "file", "identity")

    def __init__(self, file: str, arguments: Sequence[str], cwd: str, identity: tuple[int, int] = (0, 0)) -> None:
        self.file = file
        self.identity = identity
        self.arguments = tuple(arguments)
        self.cwd = cwd


def image_of(pid: int) -> Image:
    """What process `pid`, stopped at its exec, has become. Raises OSError, and ValueError for a line without an end."""
    file = os.readlink(f"/proc/{pid}/exe")
    found = os.stat(f"/proc/{pid}/exe")
    cwd = os.readlink(f"/proc/{pid}/cwd")
    with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as line:
        data = b""
        while len(data) <= _LONGEST_LINE and (chunk := line.read(1 << 16)):
            data += chunk
    if len(data) > _LONGEST_LINE:
        raise ValueError("its arguments are longer than the kernel allows")
    return Image(file, [os.fsdecode(word) for word in data.split(b"\0")[:-1]], cwd, (found.st_dev, found.st_ino))


class ExecCheck:
    """The commands of one profile, as a question about images. `helpers` are the files that `uses` brings along;
    `mounted` the programs that are mounted by themselves on top of staged areas, `own` those of the job's own trees
    with their (device, inode).

    `permissions` are data. The first image is the launcher's own choice, and many jobs start no second one: the
    algebra is imported when there is something to judge. pid 1, which judges, sees no file of ours any more; so where
    the modules are not held in memory (see `launcher.cli.bundle`) all of it is made here.
    """

    __slots__ = ("_data", "_helpers", "_mounted", "_own", "_permissions", "_pinned", "_programs", "_resolved")

    def __init__(
        self,
        permissions: dict[str, Any],
        programs: Programs,
        helpers: frozenset[str],
        mounted: Sequence[str] = (),
        resolved: dict[str, str] | None = None,
        own: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        """`resolved` are the files of the granted names, where they were looked up before."""
        self._data = permissions
        self._permissions: Permissions | None = None
        self._programs = programs
        self._helpers = helpers
        self._resolved = programs.resolved() if resolved is None else resolved
        self._mounted = tuple(mounted)
        self._pinned = _with_parents(mounted)
        self._own = own or {}
        if not _held_in_memory("launcher.capability.permissions"):
            self._judge()
            programs.kind("")

    def __reduce__(self) -> tuple[object, ...]:
        """For a pid 1 that is no fork of this process: what it was made of, and what the names meant outside."""
        return ExecCheck, (self._data, self._programs, self._helpers, self._mounted, self._resolved, self._own)

    def _judge(self) -> Permissions:
        if self._permissions is None:
            from launcher.capability.permissions import Permissions

            self._permissions = Permissions.from_data(self._data)
        return self._permissions

    def refusal(self, image: Image) -> tuple[str, tuple[Grant, ...]] | None:
        """None where the image may run, else why not and by which rules."""
        if self._is_misnamed(image):
            return f"{image.file} is not the file that had this name at launch", ()
        if image.file in self._helpers:
            return None
        first = self._decide(image.file, image.arguments)
        if first is None:
            return None
        for place in range(1, _MOST_OPTIONS + 2):
            script = self._script(image, place)
            if script and self._decide(script, (script, *image.arguments[place + 1 :])) is None:
                return None
        return first

    def _is_misnamed(self, image: Image) -> bool:
        """Whether a program of the job's own trees goes by another one's name. What is mounted cannot be renamed, but
        in a private /tmp the directories above it can.
        """
        if image.file in self._own:
            return self._own[image.file] != image.identity
        return image.identity in self._own.values()

    def _decide(self, file: str, arguments: Sequence[str]) -> tuple[str, tuple[Grant, ...]] | None:
        words = [*arguments] or [file]
        # one question for every kind of program: the algebra knows which capability an interpreter needs
        decision = self._judge().decide("cmd", "execute", words, file=file, programs=self._resolved, now=time.time())
        return None if decision.allowed else (decision.reason, decision.deciders)

    def _script(self, image: Image, place: int) -> str:
        """The script at `place` of the arguments, where this image is started as its first line says, else "".

        With other words in between, `python3 -i script` would be an interpreter that nobody granted.
        The interpreter opens the script by this name after the check, so it must be one that no process of the sandbox
        can give another meaning. (The working directory is this process's own: the filter refuses CLONE_FS without
        CLONE_THREAD, and an exec ends the other threads.)
        """
        if len(image.arguments) <= place:
            return ""
        name = self._steady(image.cwd, image.arguments[place])
        if not name:
            return ""
        between = tuple(" ".join(word.split()) for word in image.arguments[1:place])
        words = [word for word, options in starts_of(name) if options == between]
        files = [os.path.realpath(file) for word in words for file in self._programs.files_named(word)]
        return name if image.file in files else ""

    def _steady(self, cwd: str, text: str) -> str:
        """The canonical path that `text` means from `cwd`, if nothing in the sandbox can make it mean another, else "".

        Each step is looked at as the kernel takes it: none is a symbolic link, and every directory that is passed is on
        a read-only file system, or leads to a mount in a staged area. (What is mounted on, and what is above it since
        before the job, can there be neither removed nor renamed: EBUSY, ENOTEMPTY, and EXDEV for directories of a lower
        layer.) Taking `..` out of the text first would turn `/tmp/link/../../work/script` into `/work/script`, which is
        not what the interpreter opens.
        """
        path = "/"
        for word in os.path.join(cwd, text).split("/"):
            if word == "..":
                path = os.path.dirname(path)
            elif word not in {"", "."}:
                path = os.path.join(path, word)
                if os.path.islink(path):
                    return ""
            if path not in self._pinned and not _read_only(path):
                return ""
        return path


def _held_in_memory(module: str) -> bool:
    return module in sys.modules or any(finder.hold(module) for finder in sys.meta_path if hasattr(finder, "hold"))


def _read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & _ST_RDONLY)
    except OSError:
        return False


def _with_parents(paths: Sequence[str]) -> frozenset[str]:
    found = set()
    for path in paths:
        while path not in {"", "/"}:
            found.add(path)
            path = path.rpartition("/")[0]  # noqa: PLW2901
    return frozenset(found)
