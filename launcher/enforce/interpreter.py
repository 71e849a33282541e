"""The Python interpreter and the library that an ML job runs on, as mounts of its view.

An interpreter below /usr is in view anyway (its program file is added to the covered directory of programs).
Any other (pyenv, a home directory) is mounted below /opt/mlsandbox, by a descriptor that the launcher opened.
"""

from __future__ import annotations

import os
import sys

import launcher
from launcher.enforce.namespace.binds import Bind, Tree
from launcher.enforce.namespace.operations import File
from launcher.enforce.namespace.spec import Rule
from launcher.kernel import landlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.job import Job
    from launcher.enforce.namespace.operations import Operation

_HOME = "/opt/mlsandbox"
LIBRARY = f"{_HOME}/lib"
PACKAGES = f"{_HOME}/packages"
_PYTHON = f"{_HOME}/python"
# A shared libpython is looked for where it was built to be installed, which is not where the job sees it. The variable
# is taken back before the first line of ours runs: what the program starts has the caller's own, if that is granted.
_SEARCH = "LD_LIBRARY_PATH"
_RESTORE = f"import os; own = os.environ.pop({_SEARCH!r}).partition(':')[2]; own and os.environ.update({_SEARCH}=own); "
_READ_ONLY = ("ro", "nosuid", "nodev", "noexec")
_RUNNABLE = ("ro", "nosuid", "nodev")


class Interpreter:
    """`path` is the interpreter as the job sees it; `programs`, `mounts` and `rules` bring it and the library in.

    `moved`: it stands elsewhere than outside.
    """

    __slots__ = ("mounts", "moved", "path", "programs", "rules")

    def __init__(self, path: str, programs: tuple[str, ...], mounts: tuple[Operation, ...]) -> None:
        self.path = path
        self.programs = programs
        self.mounts = mounts
        self.moved = path.startswith(_PYTHON)
        runnable = landlock.READ | landlock.EXECUTE
        self.rules = (
            Rule(LIBRARY, landlock.READ),
            Rule(PACKAGES, landlock.READ, optional=True),
            Rule(_PYTHON, runnable, optional=True),
        )

    def fill(self, job: Job) -> None:
        """Brings the interpreter into the view of `job`, and makes it the image."""
        job.path = self.path
        job.programs, job.mounts, job.rules = self.programs, self.mounts, self.rules
        if self.moved:
            job.environment[_SEARCH] = f"{_PYTHON}/lib:{job.environment.get(_SEARCH, '')}"

    def arguments(self, module: str) -> list[str]:
        """The argv that runs `launcher.MODULE.main()` isolated: no environment, no user site, nothing of the cwd."""
        code = _RESTORE if self.moved else ""
        code += f"import sys; sys.path.insert(0, {LIBRARY!r}); from {module} import main; sys.exit(main())"
        return [self.path, "-I", "-S", "-c", code]


# What the ML `database` module imports for PostgreSQL; installed with mlsandbox[postgres] or not.
_DATABASE = ("psycopg", "psycopg_binary", "psycopg_binary.libs", "sqlglot", "typing_extensions.py")


def database_packages(*, as_root: bool) -> tuple[Operation, ...]:
    """The optional packages of the ML `database` module as mounts below PACKAGES; none where they are not installed."""
    places = [place for place in sys.path if os.path.isdir(f"{place}/psycopg")]
    mounts: list[Operation] = []
    for name in _DATABASE if places else ():
        source, target = os.path.realpath(f"{places[0]}/{name}"), f"{PACKAGES}/{name}"
        if os.path.isdir(source):
            mounts.append(_directory(source, target, _RUNNABLE, as_root=as_root))  # it holds shared objects
        elif os.path.isfile(source):
            with open(source, "rb") as file:
                mounts.append(File(target, file.read()))
    return tuple(mounts)


def for_job(*, as_root: bool) -> Interpreter:
    """The interpreter of this very process, for a sandbox started by root or not."""
    package = os.path.dirname(os.path.realpath(launcher.__file__))
    mounts = [_directory(package, f"{LIBRARY}/launcher", _READ_ONLY, as_root=as_root)]
    executable = os.path.realpath(sys.executable)
    if executable.startswith("/usr/"):
        return Interpreter(executable, (executable,), tuple(mounts))
    prefix = os.path.realpath(sys.base_prefix)
    mounts.append(_directory(prefix, _PYTHON, _RUNNABLE, as_root=as_root))
    return Interpreter(f"{_PYTHON}/bin/{os.path.basename(executable)}", (), tuple(mounts))


def _directory(source: str, target: str, options: tuple[str, ...], *, as_root: bool) -> Operation:
    return Tree(source, target, options) if as_root else Bind(source, target, options)
