"""The egress proxy of one launch: started before the sandbox, given the sockets of its namespace, ended with the job.

The proxy runs with ids of its own where the launcher is root, so that nothing of the tenant's can look into it; it
holds the secrets that the job must not see. When it dies the job has no network: never open.
"""

from __future__ import annotations

import os
import select

from launcher.audit.event import ALLOWED, DENIED
from launcher.egress import handle, interception, topology
from launcher.enforce.job import Network
from launcher.errors import ConfigurationError, SandboxError
from launcher.kernel import filter, libc, seccomp  # noqa: A004  the kernel's word
from launcher.kernel.abi import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.enforce.namespace.spec import Identity
    from launcher.service.egress_settings import Settings
    from launcher.service.renewing import Renewal, Renewed

    Event = dict[str, Any]

EVENT, RELOAD = "egress", "egress.reload"

_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LARGEST_BUNDLE = 4 << 20
_SIGKILL = 9
_MOST_DENIALS = 10_000  # kept for the result; all that were written are in the audit log
_LOOK_NS = 1_000_000_000  # how often a running job's policies are looked at
# What a job may call, Unix sockets for the host's name service, and a file in memory, which is the only form in which
# OpenSSL takes a certificate; it starts no program at all.
_FILTER = {"exec": "refuse", "unix": True, "inet": True, "memfd": True}


class Egress(Network):
    """Connects the job's namespace with its proxy. `denials` are the events of what was refused; `totals` are final
    after `stop`.
    """

    def __init__(
        self,
        settings: Settings,
        network: dict[str, Any],
        identity: Identity | None,
        cache: str,
        record: Callable[[list[Event]], None],
    ) -> None:
        """`network` is the profile's section; `identity` the ids to run with, None for the launcher's own; `cache`
        the directory of compiled filters; `record` takes the proxy's events as they come.
        """
        self._settings = settings
        self._network = network
        self._cache = cache
        self._identity = identity
        self._record = record
        self._proxy: handle.Handle | None = None
        self._told: dict[str, Any] | None = None
        self._poll: select.epoll | None = None
        self._timer = -1
        self._follow: Callable[[], Renewal] | None = None
        self._renewal: Renewal | None = None
        self._generation = 1
        self.denials: list[Event] = []
        self.totals: dict[str, Any] = {}

    def start(self) -> handle.Handle:
        """Forks the proxy, which must be done while there is one thread. Safe to call twice."""
        if self._proxy is None:
            identity, settings = self._identity, self._settings
            program = seccomp.filter_bytes("default", _FILTER, self._cache)

            def prepare() -> None:
                settings.fill()
                _drop(identity, program)

            self._proxy = handle.start(_rules(self._network, self._generation), settings.data, prepare)
        return self._proxy

    def _ready(self) -> dict[str, Any]:
        if self._told is None:
            self._told = self.start().ready()
        return self._told

    def files(self) -> dict[str, bytes]:
        """What the synthesised /etc must hold: the resolver, and the authorities where there are others than the
        system's (the operator's, and where connections are intercepted the launch's own).
        """
        files = {"/etc/resolv.conf": topology.RESOLV_CONF.encode()}
        if self._own_trust():
            from base64 import b64decode

            from launcher.egress import truststore

            told = self._ready()
            authorities = f"{self._settings.data['anchors']}\n{told['ca']}".strip() + "\n"
            java = b64decode(told["java"])
            files.update(truststore.files(authorities.encode("ascii", "replace"), _system_bundle(), java))
        return files

    def environment(self) -> dict[str, str]:
        """The proxy variables, placeholders of secrets, and where programs with a store of their own find the
        authorities.
        """
        variables = {**topology.ENVIRONMENT, **self._settings.variables}
        if not self._own_trust():
            return variables
        from launcher.egress import truststore

        return {**variables, **truststore.ENVIRONMENT}

    def _own_trust(self) -> bool:
        return bool(self._settings.data["anchors"]) or interception.is_wanted(*_grants(self._network))

    def child_side(self) -> Network:
        return _Listeners(_grants(self._network)[0], loopback=self._network["loopback"])

    def in_child(self, socket: socket) -> None:
        """Opens the listeners in the job's namespace and sends them. Raises EnforcementError."""
        self.child_side().in_child(socket)

    def in_launcher(self, socket: socket) -> None:
        """Hands the listeners to the proxy once it is ready. Raises EnforcementError, and the launch is refused."""
        listeners = topology.receive_listeners(socket)
        self._ready()
        self.start().give(listeners)
        self._poll = select.epoll()
        self._poll.register(self.start().events, select.EPOLLIN)
        if self._follow:
            self._timer = libc.timerfd(_LOOK_NS)
            self._poll.register(self._timer, select.EPOLLIN)

    def follow(self, renewal: Callable[[], Renewal]) -> None:
        """What changes in policies and grants is to hold for the running job too. `renewal` is called a second after
        the start for the first time: what it imports is not on the way of a launch.
        """
        self._follow = renewal

    def fileno(self) -> int:
        return self._poll.fileno() if self._poll else -1

    def read(self) -> None:
        """Takes the events that have come, and looks for changed policies when it is time."""
        for fd, _ in self._poll.poll(0) if self._poll else ():
            if fd == self._timer:
                os.read(fd, 8)
                self._look()
            else:
                self._take()

    def _take(self) -> None:
        import json

        proxy = self._proxy
        if proxy is None or proxy.events < 0:
            return
        items: list[Event] = [json.loads(line) for line in proxy.read_events() if line]
        if proxy.events < 0:
            items.append(_said("the proxy ended: from here on the job has no network", self._generation))
        self._keep(items)

    def _keep(self, items: list[Event]) -> None:
        room = _MOST_DENIALS - len(self.denials)
        self.denials += [item for item in items if item["outcome"] == DENIED and item["event"] == EVENT][:room]
        if items:
            self._record(items)

    # -- what changes while the job runs -------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._renewal is None and self._follow:
            self._renewal = self._follow()
        if self._renewal is None or not self._renewal.due():
            return
        try:
            self._renew(self._renewal.renew())
        except SandboxError as error:
            # A document that cannot be read is no decision: the rules of before stay, and the audit says so.
            self._keep([_said(f"the rules stay as they were: {error}", self._generation, RELOAD)])

    def _renew(self, renewed: Renewed) -> None:
        if renewed.network == self._network or self._proxy is None or self._proxy.events < 0:
            return
        self._generation += 1
        self._proxy.reload(_rules(renewed.network, self._generation))
        self._network = renewed.network
        detail = {"generation": self._generation, "profile": renewed.profile, "reason": renewed.reason}
        outcome = DENIED if renewed.reason else ALLOWED
        self._keep([_event(RELOAD, outcome, {key: value for key, value in detail.items() if value})])

    def stop(self) -> None:
        """Ends the proxy and with it every connection; `totals` are final afterwards. Safe to call twice."""
        if self._poll:
            self._poll.close()
            self._poll = None
        if self._timer >= 0:
            os.close(self._timer)
            self._timer = -1
        if self._proxy:
            totals = self._proxy.stop()
            self._last(self._proxy)
            totals.pop("ok", None)
            self.totals = totals or self.totals

    def _last(self, proxy: handle.Handle) -> None:
        import json

        self._keep([json.loads(line) for line in proxy.read_events() if line])


def _rules(network: dict[str, Any], generation: int) -> dict[str, Any]:
    """The profile's section as the proxy takes it."""
    grants, denies = _grants(network)
    return {
        "grants": [grant.to_data() for grant in grants],
        "denies": [deny.to_data() for deny in denies],
        "generation": generation,
    }


def _grants(network: dict[str, Any]) -> tuple[list[Grant], list[Grant]]:
    return [_grant(data) for data in network["egress"]], [_grant(data) for data in network["denied"]]


def _said(reason: str, generation: int, name: str = EVENT) -> Event:
    return _event(name, DENIED, {"reason": reason, "generation": generation})


def _event(name: str, outcome: str, detail: dict[str, Any]) -> Event:
    """One of the launcher's own beside the proxy's, in the same shape."""
    return {
        "event": name,
        "outcome": outcome,
        "capability": "network",
        "operation": "",
        "resource": "",
        "deciders": [],
        "detail": detail,
    }


class _Listeners(Network):
    """The side in the sandbox, where it is built in a process that never had the proxy's."""

    def __init__(self, grants: list[Grant], *, loopback: bool) -> None:
        self._grants = grants
        self._loopback = loopback

    def in_child(self, socket: socket) -> None:
        topology.send_listeners(socket, topology.build(self._grants, loopback=self._loopback))


def _grant(data: dict[str, Any]) -> Grant:
    from launcher.capability.grant import Grant, Place

    parts = data["place"].rsplit(":", 2)
    known = len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit()
    place = Place(parts[0], int(parts[1]), int(parts[2])) if known else Place(data["place"])
    return Grant(
        data["type"], tuple(data["operations"]), tuple(data["patterns"]), data["constraints"], data["policy"], place
    )


def _system_bundle() -> bytes:
    try:
        with open(_SYSTEM_BUNDLE, "rb") as file:
            return file.read(_LARGEST_BUNDLE)
    except OSError:
        return b""


def _drop(identity: Identity | None, program: bytes) -> None:
    """In the proxy's process, first of all: ids of its own, nothing to gain, nothing to look into, no other program."""
    if identity:
        os.setgroups([])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    elif os.geteuid() == 0:
        raise ConfigurationError("the egress proxy may not run as root")
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(PR_SET_DUMPABLE, 0)
    libc.prctl(PR_SET_PDEATHSIG, _SIGKILL)
    filter.install(program)
