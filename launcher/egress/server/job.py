"""The state of one job's proxy: rules, names, budgets and what is open."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

from launcher.canonical import digest
from launcher.egress.ports import LOCAL_HOSTS
from launcher.egress.protocol.authority import NAME, Host
from launcher.egress.rule import byte_limit, request_rate
from launcher.egress.server.account import NO_LIMIT, Account, Bucket, Budget
from launcher.egress.server.audit import Connection, Trail
from launcher.egress.server.names import MAX_WILDCARD_LENGTH, NameTable
from launcher.egress.server.relay import Relay
from launcher.egress.server.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    from launcher.egress.policy import Rules
    from launcher.egress.rule import Rule
    from launcher.egress.server.intercept import Contexts
    from launcher.egress.server.loop import Loop
    from launcher.egress.server.options import Options
    from launcher.egress.server.streams import Stream

MAX_REMEMBERED = 512  # sets of rules whose budgets are kept
SWEEP = 1.0  # seconds between looks at idle tunnels: one task for all, no timer for each


class GrantUse:
    """What one grant has used. The key is the grant itself, so that a reload does not refill it."""

    __slots__ = ("bucket", "budget", "requests")

    def __init__(self, rule: Rule) -> None:
        limit = byte_limit(rule.grant)
        rate = request_rate(rule.grant)
        requests = rule.grant.constraints.get("max_requests") or rule.grant.constraints.get("max_uses")
        self.budget = Budget(NO_LIMIT if limit is None else limit)
        self.bucket = None if rate is None else Bucket(rate[0], max(1.0, rate[1]))
        self.requests = NO_LIMIT if requests is None else int(requests)

    def admit(self, now: float) -> str:
        """Take one request; the reason where there is none left."""
        if self.requests <= 0:
            return "max_requests used up"
        if self.bucket is not None and not self.bucket.take(now):
            return "rate limit"
        self.requests -= 1
        return ""


class Job:
    """Everything that the connections of one job share."""

    def __init__(self, loop: Loop, rules: Rules, emit: Callable[[dict[str, Any]], None], options: Options) -> None:
        self.loop = loop
        self.rules = rules.at(time())
        self.options = options
        self.trail = Trail(loop, emit)
        self.trail.generation = rules.generation
        self.names = NameTable()
        self.resolver = Resolver(loop, options.lookup)
        self.budget = Budget(options.limits.job_bytes)
        self.upload = Budget(options.limits.job_upload)
        self.requests = Bucket(options.limits.request_rate, options.limits.request_rate)
        self.queries = Bucket(options.limits.dns_rate, options.limits.dns_rate)
        self.open: set[Connection] = set()
        self.relays: set[Relay] = set()
        self.contexts: Contexts | None = None  # leaf certificates, once something is intercepted
        self.upstream_context: SSLContext | None = None
        self.accepted = 0  # client connections that live
        self._uses: dict[str, GrantUse] = {}
        self._use_of: dict[Rule, GrantUse] = {}  # the same by rule, for speed
        self._budgets: dict[tuple[Rule, ...], tuple[Budget, ...]] = {}
        self.judged: dict[tuple[str, bool, tuple[Rule, ...]], str] = {}  # addresses: why they may not be dialled
        loop.failed = self.trail.failed

    # ---- budgets

    def use(self, rule: Rule) -> GrantUse:
        """The counters of the rule's grant."""
        known = self._use_of.get(rule)
        if known is None:
            known = self._use_of[rule] = self._find_use(rule)
        return known

    def _find_use(self, rule: Rule) -> GrantUse:
        key = digest(rule.grant.to_data())
        if key not in self._uses:
            self._uses[key] = GrantUse(rule)
        return self._uses[key]

    def account(self, rules: Iterable[Rule]) -> Account:
        """A new account that draws on the job and on the grants of `rules`."""
        key = tuple(rules)
        budgets = self._budgets.get(key)
        if budgets is None:
            if len(self._budgets) >= MAX_REMEMBERED:
                self._budgets.clear()
            uses = {id(use): use.budget for use in map(self.use, key)}
            budgets = self._budgets[key] = (self.budget, *uses.values())
        return Account(*budgets, upload=self.upload)

    def admit(self, rule: Rule) -> str:
        """Take one request or connection under `rule`; the reason where a limit refuses it."""
        if not self.requests.take(self.loop.now):
            return "rate limit of the job"
        return self.use(rule).admit(self.loop.now)

    # ---- connections

    def opened(self, conn: Connection) -> None:
        """A connection stands. The rules may have changed while it was dialled, so it is judged once more, and cut
        before a byte of what the job has sent meanwhile goes out.
        """
        self.open.add(conn)
        if not conn.allowed(self.rules):
            conn.cut("revoked")

    def name_refusal(self, host: Host) -> str:
        """Empty where the job may use the name; it then has an address. Why not, else.

        A name below a wildcard is a message to the domain's owner, by whichever way it comes: how many and how long
        is limited (egress.md: labels are the channel that remains).
        """
        if host.kind != NAME or host.text in LOCAL_HOSTS:
            return ""
        wildcard = self.rules.by_wildcard(host)
        if wildcard and len(host.text) > MAX_WILDCARD_LENGTH:
            return "name too long for a wildcard"
        return "" if self.names.address(host.text, wildcard=wildcard) else "too many names"

    def ended(self, conn: Connection, reason: str = "") -> None:
        """Report a connection that was allowed. Safe to call twice."""
        self.open.discard(conn)
        self.trail.connection(conn, reason)

    def tunnel(self, conn: Connection, client: Stream, upstream: Stream) -> None:
        """Hand both sockets to a relay, which reports the connection when it ends."""

        def finished(reason: str) -> None:
            self.relays.discard(relay)
            self.accepted -= 1
            self.ended(conn, reason)

        relay = Relay(self.loop, client.sock, upstream.sock, conn.account, finished)
        # What a parser read too far goes first (a corporate proxy's answer and a banner may come in one segment).
        relay.up.kept, relay.down.kept = client.pending, upstream.pending
        self.accepted += 1  # the task that accepted the client ends now and takes its own count back
        conn.cut = relay.close
        self.relays.add(relay)
        self.opened(conn)
        if not relay.closed:
            relay.start()

    async def sweep(self) -> None:
        """Close tunnels that are idle or too old, for as long as the loop runs."""
        limits = self.options.limits
        while True:
            await self.loop.sleep_until(self.loop.now + SWEEP)
            now = self.loop.now
            for relay in [relay for relay in self.relays if now - relay.used > limits.idle_time]:
                relay.close("idle")
            for relay in [relay for relay in self.relays if now - relay.started > limits.total_time]:
                relay.close("total time")
            if time() >= self.rules.expires:
                self.reload(self.rules)

    # ---- reload

    def reload(self, rules: Rules) -> None:
        """Judge by other rules from now on, and cut what they forbid."""
        self.rules = rules.at(time())
        self._use_of.clear()
        self._budgets.clear()
        self.judged.clear()
        self.trail.generation = rules.generation
        for conn in [conn for conn in self.open if not conn.allowed(self.rules)]:
            conn.cut("revoked")

    def close(self) -> None:
        """Close everything and write the final counters."""
        for relay in list(self.relays):
            relay.close("job ended")
        for conn in list(self.open):
            self.ended(conn, "job ended")
        self.trail.flush()
        self.resolver.close()
