"""A process of the tests that rotates until it is killed: `rotator.py LOG HEAD`, one line per rotation."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from launcher.audit.files import AuditFiles
from launcher.audit.rotate import rotate

while True:
    rotate(AuditFiles(sys.argv[1], sys.argv[2]))
    os.write(1, b".\n")
