"""A launch on this terminal that the service makes: signals, Ctrl-C and Ctrl-Z, the terminal's mode and its size."""

from __future__ import annotations

import _signal
import os
import select

from launcher.service.remote import Remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.service.client import Client
    from launcher.service.request import Request

_SIGWINCH, _SIGTSTP, _SIGSTOP, _SIGCONT = 28, 20, 19, 18
_PASSED = (
    _signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2, _SIGWINCH,
    _SIGCONT,
)  # fmt: skip


def launch(client: Client, request: Request) -> dict[str, Any]:
    """Runs the job to its end; its result. Raises SandboxError."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*_PASSED, _SIGTSTP):
        _signal.signal(number, lambda *_: None)
    remote = Remote(client, request)
    if not request.terminal:
        return _wait(remote, woken)
    from launcher.enforce.namespace.console import give_back, make_raw

    saved = make_raw(request.stdio[0])
    try:
        return _wait(remote, woken)
    finally:
        give_back(request.stdio[0], saved)


def _wait(remote: Remote, woken: int) -> dict[str, Any]:
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(remote.fileno(), select.POLLIN)
    while remote.result is None:
        for fd, _events in poll.poll():
            if fd != woken:
                remote.step()
                continue
            for number in os.read(woken, 512):
                _signalled(remote, number)
    return remote.result


def _signalled(remote: Remote, number: int) -> None:
    if number in _PASSED:
        remote.signal(number)
    elif number == _SIGTSTP:  # the job stops with us, and goes on when we do
        remote.signal(_SIGSTOP)
        os.kill(os.getpid(), _SIGSTOP)
