"""A host whose launcher lacks some mechanisms: `weakened.py` in its own process, never the installed command."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from tests.attack.report import HERE
from tests.sandboxed import Host


class WeakHost(Host):
    """`host` with a launcher of the test's own; `without` are the names of what is taken out, with commas between."""

    def __init__(self, host: Host, without: str) -> None:
        self.__dict__.update(host.__dict__)
        self.without = without
        shutil.copyfile(f"{HERE}/weakened.py", f"{self.top}/weakened.py")
        os.chmod(f"{self.top}/weakened.py", 0o644)

    def command(self, *words: str) -> list[str]:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        library = f"{self.prefix}/lib/{version}/site-packages"
        start = [f"{self.prefix}/bin/python3", "-I", "-S", f"{self.top}/weakened.py", library]
        return [*start, "--root", self.root, *words]

    def drop(self) -> dict[str, Any]:
        arguments = super().drop()
        return {**arguments, "env": {**arguments["env"], "MLSANDBOX_TEST_WITHOUT": self.without}}
