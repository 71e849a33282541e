"""`mlsandbox audit verify|show|rotate|checkpoint`."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from launcher.audit.checkpoint import checkpoint, public_key_of, read_key
from launcher.audit.files import audit_files, settings
from launcher.audit.human import line
from launcher.audit.mirror import mirror_head, mirrored_head
from launcher.audit.printable import printable
from launcher.audit.reader import Filters, moment, read
from launcher.audit.rotate import rotate
from launcher.audit.verify import verify
from launcher.cli.options import Command, Option
from launcher.cli.output import paint, printable_text, problem, show, show_json
from launcher.errors import AuditError, UsageError
from launcher.policy.loading import read_configuration
from launcher.policy.paths import Locations
from launcher.policy.trust import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from launcher.audit.files import AuditFiles
    from launcher.audit.verify import Verification
    from launcher.cli.options import Arguments
    from launcher.policy.config import Config

HELP = "Verify, show, rotate and sign the audit log."
EXAMPLE = """
mlsandbox audit show --user alice --since 1h
mlsandbox audit verify
"""
EXIT_TAMPERED = 1
MAX_NUMBER = 1_000_000_000


class Place:
    """The audit of this invocation: its files, the configuration, and the state database."""

    __slots__ = ("config", "database", "files")

    def __init__(self, arguments: Arguments) -> None:
        locations = Locations.find(arguments.root)
        self.config: Config = read_configuration(locations, Reader(strict=locations.system))
        self.files: AuditFiles = audit_files(locations, self.config)
        self.database = locations.database

    def setting(self, name: str) -> str:
        return str(settings(self.config).get(name, ""))


def run_verify(arguments: Arguments) -> int:
    """0 where the log holds what was written, 1 where it does not."""
    place = Place(arguments)
    path = arguments.public_key or place.setting("public_key")
    key = public_key_of(read_key(path, private=False)) if path else None
    notes: list[str] = []
    known = _known(place, notes)
    result = verify(place.files, mirrored=known, public_key=key, against=arguments.against)
    result.notes += notes
    if result.ok:
        _mirror(place)
    if arguments.json:
        show_json({"log": place.files.log, **result.to_data()})
    else:
        _print_verification(place.files, result)
    return 0 if result.ok else EXIT_TAMPERED


def run_show(arguments: Arguments) -> int:
    """Events, oldest first, a line each."""
    place = Place(arguments)
    last = _number("--last", arguments.last, 1)
    filters = Filters(
        user=arguments.user or "",
        since=moment(arguments.since) if arguments.since else "",
        until=moment(arguments.until) if arguments.until else "",
        outcome=(arguments.outcome or "").upper(),
        job=arguments.job or "",
        capability=arguments.capability or "",
    )
    damaged: list[str] = []
    events = read(place.files, filters, damaged=damaged.append)
    for event in _last(events, last):
        if arguments.json:
            show_json(event, lines=True)
        else:
            show(_coloured(event))
    if damaged:
        problem(f"{len(damaged)} lines are no audit events, the first at {damaged[0]}", verb="audit", label="warning",
                hint="mlsandbox audit verify")  # fmt: skip
    return 0


def run_rotate(arguments: Arguments) -> int:
    """Close the log and begin a new one."""
    place = Place(arguments)
    keep = _number("--keep", arguments.keep, 1)
    closed = rotate(place.files, keep=keep, at_least=_number("--at-least", arguments.at_least, 0) or 1)
    if arguments.json:
        show_json({"log": place.files.log, "closed": closed})
    else:
        show(f"closed as {printable(closed)}" if closed else "nothing to close: the log is too small")
    return 0


def run_checkpoint(arguments: Arguments) -> int:
    """Sign the head, store it beside the log, and print it to be kept elsewhere."""
    place = Place(arguments)
    path = arguments.key or place.setting("key")
    if not path:
        raise UsageError("no key to sign with", hint="give --key FILE: openssl genpkey -algorithm ed25519 -out FILE")
    signed = checkpoint(place.files, read_key(path))
    _mirror(place)
    show(signed.line().decode("ascii"))
    return 0


def _known(place: Place, notes: list[str]) -> tuple[int, str] | None:
    """The head that the state database knows; who may not read it (an operator) is told so."""
    if not os.path.exists(place.database):
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(place.database)}?mode=ro", uri=True)) as connection:
            return mirrored_head(connection, place.files)
    except sqlite3.Error as error:
        notes.append(f"{place.database}: not read ({error}): the log is not compared with the state database")
        return None


def _mirror(place: Place) -> None:
    """Copy the head into the state database, where this user may. Raises AuditError for a head that went back."""
    if not os.access(os.path.dirname(place.database), os.W_OK) or not os.access(place.files.head, os.W_OK):
        return
    fd = os.open(place.database, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)  # not SQLite's 0644
    os.close(fd)
    try:
        with closing(sqlite3.connect(place.database, timeout=10)) as connection:
            mirror_head(connection, place.files)
    except sqlite3.Error as error:
        raise AuditError(f"the state database {place.database} cannot be written: {error}") from error


def _print_verification(files: AuditFiles, result: Verification) -> None:
    for note in result.notes:
        show(f"{paint('note:', 'yellow')} {printable_text(note)}")
    for text in result.problems:
        show(f"{paint('problem:', 'red')} {printable_text(text)}")
    span = f"{result.events} events, sequence {result.first} to {result.last}, {result.checkpoints} checkpoints"
    verdict = paint("verified", "green") if result.ok else paint("NOT VERIFIED", "red")
    show(f"{verdict}: {printable(files.log)}: {span}")
    if result.events:
        show(f"head: {result.digest}")


def _coloured(event: dict[str, Any]) -> str:
    style = {"DENIED": "red", "ALLOWED": "green"}.get(event.get("outcome", ""))
    return paint(line(event), style) if style else line(event)


def _last(events: Iterator[dict[str, Any]], count: int | None) -> Iterator[dict[str, Any]]:
    return events if count is None else iter(deque(events, maxlen=count))


def _number(name: str, text: str | None, least: int) -> int | None:
    """A whole number as an option's value. Raises UsageError."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and least <= int(text[:10]) <= MAX_NUMBER and len(text) <= 10):
        raise UsageError(f"{name}: not a number from {least} to {MAX_NUMBER}: {text}", hint=f"write {name} {least + 9}")
    return int(text)


COMMANDS = (
    Command(
        "verify",
        help="Check the chain, the head and the checkpoints; exit status 1 where the log was changed.",
        example="mlsandbox audit verify --public-key audit.pub --against /mnt/safe/checkpoints",
        options=(
            Option("--public-key", metavar="FILE", help="PEM of the key that signed the checkpoints"),
            Option("--against", metavar="FILE", repeat=True, help="checkpoints that were kept elsewhere (repeatable)"),
        ),
        run=run_verify,
    ),
    Command(
        "show",
        help="Print events, oldest first, a line each.",
        example="mlsandbox audit show --user alice --outcome denied --since 2025-10-01",
        options=(
            Option("--user", "-u", metavar="NAME", help="events of this user"),
            Option("--since", metavar="TIME", help="from this time: 2025-10-01, 2025-10-01T10:30, 30m, 1h, 2d"),
            Option("--until", metavar="TIME", help="before this time"),
            Option("--outcome", choices=("allowed", "denied", "ALLOWED", "DENIED"), help="allowed or denied"),
            Option("--job", "-j", metavar="ID", help="events of this job"),
            Option("--capability", "-c", metavar="TYPE", help="events of this capability: file, network, cmd, ..."),
            Option("--last", "-n", metavar="N", help="only the last N of them"),
        ),
        run=run_show,
    ),
    Command(
        "rotate",
        help="Close the log as audit.jsonl.1 and begin a new one; the chain goes on.",
        example="mlsandbox audit rotate --keep 12 --at-least 1000000",
        options=(
            Option("--keep", metavar="N", help="remove closed segments after the newest N (default: keep all)"),
            Option("--at-least", metavar="BYTES", help="only if the log is this large"),
        ),
        run=run_rotate,
    ),
    Command(
        "checkpoint",
        help="Sign the head of the log, and print the signature to be kept elsewhere.",
        example="mlsandbox audit checkpoint --key /etc/mlsandbox/audit.key | ssh safe 'cat >> checkpoints'",
        options=(Option("--key", metavar="FILE", help="PEM of an Ed25519 private key, mode 0600"),),
        run=run_checkpoint,
    ),
)
