"""The supervisor of one job: hands over descriptors, carries bytes, keeps the clock, and reports how it ended.

One thread, one poll(2). When it dies, however it dies, pid 1 of the sandbox reads end-of-file and the kernel ends
all of the job.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.fork import spawn
from launcher.enforce.namespace.pumps import Output
from launcher.errors import EnforcementError, NotFoundError, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.enforce.namespace.cgroup import Cgroup
    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.console import Console
    from launcher.enforce.namespace.pumps import Input
    from launcher.enforce.namespace.spec import Spec
    from launcher.enforce.result import Result

_FORWARDED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)
_SIGWINCH = 28
_DRAIN_NS = 2_000_000_000  # how long the last output may take to be read by the caller after the job has ended
_ENOENT = 2
_LIMIT_SIGNALS = {24: "max_cpu_time", 25: "max_file_size"}  # SIGXCPU, SIGXFSZ: setrlimit(2)
_CPU_CHECK_NS = 200_000_000


class Supervisor:
    """Runs one spec. `prepare` is called with the scratch's descriptor before staged areas are mounted."""

    def __init__(self, spec: Spec, console: Console, cgroup: Cgroup | None, result: Result) -> None:
        self._spec = spec
        self._console = console
        self._cgroup = cgroup
        self._result = result
        self._deadline: int | None = None
        self._max_cpu_us: int | None = None
        self._ended = False
        self._pid = 0
        self._limits: dict[str, int | None] = {}
        self.scratch = -1

    def run(
        self, limits: dict[str, int | None], prepare: Callable[[int], None], before_start: Callable[[], None]
    ) -> None:
        """Builds the sandbox, starts the job and stays until it has ended. Raises EnforcementError, NotFoundError."""
        woken = _catch_signals()
        began = time.monotonic_ns()
        self._pid, control = spawn(self._spec, self._cgroup)
        try:
            before_start()  # while the sandbox is built: it is the start of the job that must wait for it
            self._build(control, prepare)
            self._start(control, limits)
            self._loop(control, woken)
        finally:
            self._console.restore()
            control.close()
            self._finish(began)

    def _build(self, control: Channel, prepare: Callable[[int], None]) -> None:
        if self._cgroup:
            self._cgroup.attach(self._pid)
        while True:
            kind, values, descriptors = control.receive()
            if kind == messages.SCRATCH:
                self.scratch = descriptors[0]
                prepare(self.scratch)
                control.send(messages.PREPARED)
            elif kind == messages.LISTENERS and self._spec.network:
                self._spec.network.in_launcher(control.socket)
            elif kind == messages.READY:
                return
            else:
                self._failed(kind, values)

    def _start(self, control: Channel, limits: dict[str, int | None]) -> None:
        self._limits = limits
        wall = limits.get("max_wall_time")
        self._max_cpu_us = cpu * 1_000_000 if (cpu := limits.get("max_cpu_time")) is not None else None
        control.send(messages.GO)
        self._deadline = None if wall is None else time.monotonic_ns() + wall * 1_000_000_000
        self._console.started()

    def _failed(self, kind: str, values: tuple[object, ...]) -> None:
        if kind == messages.FAILED:
            step, subject, number, hint = values
            raise EnforcementError(str(step), str(subject), int(str(number)), hint=str(hint))
        if kind == messages.NOT_STARTED:
            number, path = int(str(values[0])), str(values[1])
            if number == _ENOENT:
                raise NotFoundError(f"cannot run {path}: it does not exist in the job's view")
            raise RefusedError(
                f"cannot run {path}: {os.strerror(number)}", hint="the file, or its interpreter, is not granted"
            )
        raise EnforcementError("keep", "the sandbox's init", hint="it ended before the job did")

    def _loop(self, control: Channel, woken: int) -> None:
        while not self._ended:
            self._wait_once(control, woken)
        until = time.monotonic_ns() + _DRAIN_NS
        while any(pump.wants() for pump in self._outputs()) and time.monotonic_ns() < until:
            self._wait_once(None, woken)

    def _outputs(self) -> list[Output]:
        return [pump for pump in self._console.pumps if isinstance(pump, Output)]

    def _wait_once(self, control: Channel | None, woken: int) -> None:
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        if control:
            poll.register(control.fileno(), select.POLLIN)
        owners = self._register(poll)
        network = self._spec.network
        if network and network.fileno() >= 0:
            poll.register(network.fileno(), select.POLLIN)
        for fd, _events in poll.poll(self._timeout_ms()):
            if fd == woken:
                self._signalled(os.read(woken, 512), control)
            elif network and fd == network.fileno():
                network.read()
            elif control and fd == control.fileno():
                self._told(control)
            else:
                for pump in owners[fd]:
                    pump.ready(fd)
        self._check_limits()

    def _register(self, poll: select.poll) -> dict[int, list[Input | Output]]:
        wanted: dict[int, int] = {}
        owners: dict[int, list[Input | Output]] = {}
        pumps: list[Input | Output] = [*self._outputs()] if self._ended else self._console.pumps
        for pump in pumps:
            for fd, events in pump.wants():
                wanted[fd] = wanted.get(fd, 0) | events
                owners.setdefault(fd, []).append(pump)
        for fd, events in wanted.items():
            poll.register(fd, events)
        return owners

    def _timeout_ms(self) -> int | None:
        if self._ended:
            return 50
        if self._max_cpu_us is not None and self._cgroup:
            return _CPU_CHECK_NS // 1_000_000
        if self._deadline is None:
            return None
        return max(0, (self._deadline - time.monotonic_ns()) // 1_000_000 + 1)

    def _check_limits(self) -> None:
        if self._ended:
            return
        if self._deadline is not None and time.monotonic_ns() >= self._deadline:
            self._end("max_wall_time")
        elif self._max_cpu_us is not None and self._cgroup and (self._cgroup.cpu_time_us() or 0) > self._max_cpu_us:
            self._end("max_cpu_time")

    def _end(self, limit: str) -> None:
        os.kill(self._pid, _signal.SIGKILL)
        self._result.ended(_signal.SIGKILL)
        self._result.limited(limit)
        self._ended = True

    def _signalled(self, numbers: bytes, control: Channel | None) -> None:
        for number in numbers:
            if number == _SIGWINCH:
                self._console.resize()
            elif number in _FORWARDED and control:
                control.send(messages.SIGNAL, (number,))

    def _told(self, control: Channel) -> None:
        kind, values, descriptors = control.receive()
        if kind == messages.TERMINAL:
            self._console.attach_terminal(descriptors[0])
        elif kind == messages.REFUSED_EXEC:
            file, line, reason, places = values
            refused = {"file": file, "command": line, "reason": reason, "places": places}
            self._result.refused_execs.append(refused)
        elif kind == messages.ENDED:
            status, user, system, rss = (int(str(value)) for value in values)
            self._result.ended(status)
            limit = _LIMIT_SIGNALS.get(self._result.signal or 0)
            if limit and self._limits.get(limit) is not None:
                self._result.limited(limit)
            self._result.usage.user_us, self._result.usage.system_us = user, system
            self._result.usage.peak_memory = rss
            self._ended = True
        elif not kind and self._cgroup and self._cgroup.out_of_memory():
            # memory that no process holds (a full tmpfs) makes the kernel choose among all, pid 1 included
            self._result.ended(_signal.SIGKILL)
            self._result.limited("max_memory")
            self._ended = True
        else:
            self._failed(kind, values)

    def _finish(self, began: int) -> None:
        """Waits for pid 1: when waitpid(2) returns, the kernel has ended every process of the sandbox."""
        if not self._ended:
            os.kill(self._pid, _signal.SIGKILL)
        os.waitpid(self._pid, 0)
        usage = self._result.usage
        usage.wall_us = (time.monotonic_ns() - began) // 1000
        usage.output_bytes = self._console.budget.passed
        usage.output_dropped = self._console.budget.dropped
        if self._cgroup:
            self._account(self._cgroup)

    def _account(self, cgroup: Cgroup) -> None:
        peak = cgroup.peak_memory()
        self._result.usage.peak_memory = peak or self._result.usage.peak_memory
        if cgroup.out_of_memory() and self._result.signal == _signal.SIGKILL and self._result.limit is None:
            self._result.limited("max_memory")
        cgroup.remove()


def _catch_signals() -> int:
    """Signals become bytes on a pipe (the returned descriptor), read by the one poll."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*_FORWARDED, _SIGWINCH):
        _signal.signal(number, lambda *_: None)
    return woken
