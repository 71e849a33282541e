"""The egress proxy of one launch: started before the sandbox, given the sockets of its namespace, ended with the job.

The proxy runs with ids of its own where the launcher is root, so that nothing of the tenant's can look into it; it
holds the secrets that the job must not see. When it dies the job has no network: never open.
"""

from __future__ import annotations

import os

from launcher.egress import handle, interception, topology
from launcher.enforce.job import Network
from launcher.errors import ConfigurationError
from launcher.kernel import filter, libc, seccomp  # noqa: A004  the kernel's word
from launcher.kernel.abi import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from launcher.capability.grant import Grant
    from launcher.enforce.namespace.spec import Identity

_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LARGEST_BUNDLE = 4 << 20
_SIGKILL = 9
_MOST_EVENTS = 10_000
# What a job may call, and Unix sockets for the host's name service; it starts no program at all.
_FILTER = {"exec": "refuse", "unix": True, "inet": True}


class Egress(Network):
    """Connects the job's namespace with its proxy. `events` are the audit events that have come, as data."""

    def __init__(self, job: str, network: dict[str, Any], identity: Identity | None, cache: str) -> None:
        """`network` is the profile's section; `identity` the ids to run with, None for the launcher's own; `cache`
        the directory of compiled filters.
        """
        self._grants = [_grant(data) for data in network["egress"]]
        self._denies = [_grant(data) for data in network["denied"]]
        self._job = job
        self._cache = cache
        self._identity = identity
        self._proxy: handle.Handle | None = None
        self._told: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.totals: dict[str, Any] = {}

    def start(self) -> handle.Handle:
        """Forks the proxy, which must be done while there is one thread. Safe to call twice."""
        if self._proxy is None:
            rules = {
                "grants": [grant.to_data() for grant in self._grants],
                "denies": [deny.to_data() for deny in self._denies],
                "generation": 1,
            }
            settings: dict[str, Any] = {
                "limits": {}, "secrets": {}, "placeholders": {}, "upstream_proxy": None, "no_proxy": [], "trust": "",
                "job": self._job,
            }  # fmt: skip
            identity = self._identity
            program = seccomp.filter_bytes("default", _FILTER, self._cache)
            self._proxy = handle.start(rules, settings, lambda: _drop(identity, program))
        return self._proxy

    def _ready(self) -> dict[str, Any]:
        if self._told is None:
            self._told = self.start().ready()
        return self._told

    def files(self) -> dict[str, bytes]:
        """What the synthesised /etc must hold: the resolver, and where connections are intercepted the authority."""
        files = {"/etc/resolv.conf": topology.RESOLV_CONF.encode()}
        if self._intercepts():
            from base64 import b64decode

            from launcher.egress import truststore

            told = self._ready()
            bundle = _system_bundle()
            files.update(truststore.files(told["ca"].encode(), bundle, b64decode(told["java"])))
        return files

    def environment(self) -> dict[str, str]:
        """The proxy variables, and where programs with a store of their own find the authority."""
        if not self._intercepts():
            return dict(topology.ENVIRONMENT)
        from launcher.egress import truststore

        return {**topology.ENVIRONMENT, **truststore.ENVIRONMENT}

    def _intercepts(self) -> bool:
        return interception.is_wanted(self._grants, self._denies)

    def in_child(self, socket: socket) -> None:
        """Opens the listeners in the job's namespace and sends them. Raises EnforcementError."""
        topology.send_listeners(socket, topology.build(self._grants))

    def in_launcher(self, socket: socket) -> None:
        """Hands the listeners to the proxy once it is ready. Raises EnforcementError, and the launch is refused."""
        listeners = topology.receive_listeners(socket)
        self._ready()
        self.start().give(listeners)

    def fileno(self) -> int:
        return self._proxy.events if self._proxy else -1

    def read(self) -> None:
        """Takes the events that have come; beyond a bound they are only counted by the proxy's totals."""
        import json

        for line in self._proxy.read_events() if self._proxy else ():
            if line and len(self.events) < _MOST_EVENTS:
                self.events.append(json.loads(line))

    def stop(self) -> None:
        """Ends the proxy and with it every connection; `totals` are final afterwards. Safe to call twice."""
        if self._proxy:
            totals = self._proxy.stop()
            self.read()
            totals.pop("ok", None)
            self.totals = totals or self.totals


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
