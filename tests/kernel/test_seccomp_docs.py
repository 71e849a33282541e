from __future__ import annotations

import subprocess
import sys


def test_the_page_is_what_the_table_says() -> None:
    done = subprocess.run(
        [sys.executable, "script/gen_syscalls_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
