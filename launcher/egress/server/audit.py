"""What the proxy tells the trusted side: one event for each connection and each denial, and totals by host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.egress.protocol.denial import clip
from launcher.egress.server.account import Account, Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.egress.policy import Rules
    from launcher.egress.rule import Rule
    from launcher.egress.server.loop import Loop

DENIALS_A_SECOND = 20.0  # of one job; a flood is counted, not written
DENIAL_BURST = 200.0
MAX_HOSTS = 1024  # rows of the totals; the rest is summed under "(others)"


class Connection:
    """What is known of one connection while it lives. `resource` is `name:port` as the job asked for it."""

    __slots__ = (
        "account",
        "address",
        "allowed",
        "cut",
        "failure",
        "host",
        "kind",
        "port",
        "reported",
        "rule",
        "scheme",
        "started",
    )

    def __init__(self, kind: str, host: str, port: int, account: Account, started: float) -> None:
        self.kind = kind
        self.host = host
        self.port = port
        self.account = account
        self.started = started
        self.scheme = ""
        self.address = ""
        self.failure = ""  # of the network, where policy had let it through
        self.rule: Rule | None = None
        self.reported = False
        self.allowed: Callable[[Rules], bool] = lambda _rules: True  # asked again when the policy changes
        self.cut: Callable[[str], None] = lambda _reason: None


class Trail:
    """Writes events through `emit`, which must not raise for an event that it drops on purpose."""

    def __init__(self, loop: Loop, emit: Callable[[dict[str, Any]], None]) -> None:
        self._loop = loop
        self._emit = emit
        self._denials = Bucket(DENIALS_A_SECOND, DENIAL_BURST)
        self._dropped = 0
        self.generation = 0
        self._deciders: dict[Rule, list[str]] = {}  # as they are written
        self.hosts: dict[str, dict[str, int]] = {}
        self.denied = 0

    def connection(self, conn: Connection, reason: str = "") -> None:
        """A connection that was allowed and has ended, or could not be made."""
        if conn.reported:
            return
        conn.reported = True
        reason = reason or conn.failure
        self._count(conn)["connections"] += 1
        self._emit(self._event(conn, "ALLOWED", reason))

    def denial(self, conn: Connection, reason: str, missing: str = "") -> None:
        """A refusal. More than the rate allows are counted and told with the next one that is written."""
        conn.reported = True
        self.denied += 1
        self._count(conn)["denied"] += 1
        if not self._denials.take(self._loop.now):
            self._dropped += 1
            return
        event = self._event(conn, "DENIED", reason)
        if missing:
            event["detail"]["missing"] = clip(missing)
        if self._dropped:
            event["detail"]["dropped"] = self._dropped
            self._dropped = 0
        self._emit(event)

    def name(self, name: str, reason: str) -> None:
        """A refused DNS question."""
        conn = Connection("dns", name, 53, Account(), self._loop.now)
        conn.scheme = "dns"
        self.denial(conn, reason, f"network.https:{name}")

    def failed(self, error: BaseException) -> None:
        """A bug of ours: the connection is gone, the trusted side hears of it."""
        conn = Connection("internal", "", 0, Account(), self._loop.now)
        self._emit(self._event(conn, "DENIED", f"{type(error).__name__}: {clip(str(error))}"))

    def flush(self) -> None:
        """The count of what was dropped, if nothing has told it yet."""
        if self._dropped:
            conn = Connection("dropped", "", 0, Account(), self._loop.now)
            event = self._event(conn, "DENIED", "denials not written")
            event["detail"]["dropped"] = self._dropped
            self._dropped = 0
            self._emit(event)

    def totals(self) -> dict[str, Any]:
        """For `--result`: by host connections, denied, bytes_up, bytes_down; and the number of denials."""
        return {"hosts": self.hosts, "denied": self.denied}

    def _count(self, conn: Connection) -> dict[str, int]:
        """The row of the connection's host, its bytes added."""
        row = self._row(conn.host)
        row["bytes_up"] += conn.account.up
        row["bytes_down"] += conn.account.down
        return row

    def _row(self, host: str) -> dict[str, int]:
        key = clip(host) if host in self.hosts or len(self.hosts) < MAX_HOSTS else "(others)"
        return self.hosts.setdefault(key, {"connections": 0, "denied": 0, "bytes_up": 0, "bytes_down": 0})

    def _event(self, conn: Connection, outcome: str, reason: str) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "via": conn.kind,
            "bytes_up": conn.account.up,
            "bytes_down": conn.account.down,
            "milliseconds": round((self._loop.now - conn.started) * 1000),
            "generation": self.generation,
        }
        if conn.address:
            detail["address"] = conn.address
        if reason:
            detail["reason"] = clip(reason)
        shown = f"[{conn.host}]" if ":" in conn.host else conn.host
        return {
            "event": "egress",
            "layer": "egress",
            "capability": "database" if conn.scheme in {"postgresql", "database"} else "network",
            "operation": conn.scheme or "tcp",
            "resource": clip(f"{shown}:{conn.port}"),
            "outcome": outcome,
            "deciders": self._decider(conn.rule) if conn.rule else [],
            "detail": detail,
        }

    def _decider(self, rule: Rule) -> list[str]:
        known = self._deciders.get(rule)
        if known is None:
            if len(self._deciders) >= MAX_HOSTS:
                self._deciders.clear()
            known = self._deciders[rule] = [rule.decider]
        return known
