"""A writer process of the tests: `writer.py LOG HEAD COUNT NAME [sync]`, then one line per finished append."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from launcher.audit.event import event
from launcher.audit.files import AuditFiles
from launcher.audit.log import AuditLog


def main(log_path: str, head_path: str, count: str, name: str, sync: str = "") -> None:
    log = AuditLog.at(AuditFiles(log_path, head_path))
    for number in range(int(count)):
        log.append([event("launch", "policy", "ALLOWED", user=name, job=f"{name}-{number}")], sync=bool(sync))
        os.write(1, b"%d\n" % number)


main(*sys.argv[1:])
