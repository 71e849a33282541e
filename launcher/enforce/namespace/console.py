"""The job's standard streams: three pipes, or a terminal of its own where the caller has one."""

from __future__ import annotations

import fcntl
import os

from launcher.enforce.namespace.pumps import Budget, Input, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TIOCGWINSZ = 0x5413
_TIOCSWINSZ = 0x5414
_WINSIZE = 8


class Console:
    """The caller's descriptors and how the job is connected to them.

    `theirs` are the job's ends to hand to the child (empty for a terminal), closed by `started`. `raw`: the caller's
    terminal is put into raw mode here, and not by who passed it.
    """

    __slots__ = ("_ours", "_raw", "_saved", "budget", "pumps", "terminal", "theirs")

    def __init__(self, ours: Sequence[int], *, terminal: bool, max_output: int | None, raw: bool = True) -> None:
        self._raw = raw
        self._ours = tuple(ours)
        self._saved: list[object] | None = None
        self.terminal = terminal
        self.budget = Budget(max_output)
        self.theirs: tuple[int, ...] = ()
        self.pumps: list[Input | Output] = []
        if not terminal:
            self._make_pipes()

    def _make_pipes(self) -> None:
        stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self.theirs = (stdin_read, out_write, err_write)
        self.pumps = [
            Input(self._ours[0], stdin_write),
            Output(out_read, self._ours[1], self.budget),
            Output(err_read, self._ours[2], self.budget),
        ]

    def speak_for(self, uid: int, gid: int) -> None:
        """What the job says is said by these ids, and not by those of this process."""
        for pump in self.pumps:
            if isinstance(pump, Output):
                pump.speak_for(uid, gid)

    def started(self) -> None:
        """The child has its ends: ours of them are closed, so end-of-file can be seen."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = ()

    def attach_terminal(self, master: int) -> None:
        """Connects the caller's terminal, put into raw mode, with the master of the job's pty."""
        if self._raw:
            self._saved = make_raw(self._ours[0])
        self.pumps = [Input(self._ours[0], os.dup(master)), Output(master, self._ours[1], self.budget)]
        self.resize()

    def resize(self) -> None:
        """Copies the size of the caller's terminal to the job's (the kernel sends SIGWINCH to the job)."""
        for pump in self.pumps:
            if isinstance(pump, Output) and self.terminal:
                size = fcntl.ioctl(self._ours[0], _TIOCGWINSZ, bytes(_WINSIZE))
                fcntl.ioctl(pump.source, _TIOCSWINSZ, size)

    def restore(self) -> None:
        """Gives the caller's terminal back as it was found."""
        if self._saved is not None:
            give_back(self._ours[0], self._saved)
            self._saved = None

    def close(self) -> None:
        """Closes every descriptor of the console's own, for a process that goes on; the caller's stay open."""
        self.started()
        for pump in self.pumps:
            pump.close()
        self.pumps = []


def make_raw(fd: int) -> list[object]:
    """Puts the terminal behind `fd` into raw mode: every key is the job's. Returns what `give_back` needs."""
    import termios

    saved = termios.tcgetattr(fd)
    raw = termios.tcgetattr(fd)
    raw[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
    raw[1] &= ~termios.OPOST
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    termios.tcsetattr(fd, termios.TCSANOW, raw)
    return saved


def give_back(fd: int, saved: list[object]) -> None:
    """Gives the terminal back as `make_raw` found it."""
    import termios

    termios.tcsetattr(fd, termios.TCSADRAIN, saved)  # type: ignore[arg-type]
