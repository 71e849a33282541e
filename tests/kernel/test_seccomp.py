"""The byte cache and the errors of `filter_bytes`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from launcher.errors import ConfigurationError, EnforcementError
from launcher.kernel import seccomp
from launcher.kernel.seccomp import cache

if TYPE_CHECKING:
    from pathlib import Path


CACHED_JOB = """
import sys
sys.path.insert(0, sys.argv[1])
from launcher.kernel import seccomp
print(len(seccomp.filter_bytes("default", {}, sys.argv[2])))
print(*[name in sys.modules for name in ("yaml", "pyseccomp", "ctypes", "typing")])
"""
WITHOUT_LIBRARY_JOB = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["pyseccomp"] = None
from launcher.kernel import seccomp
from launcher.errors import EnforcementError
try:
    seccomp.filter_bytes("default", {}, None)
except EnforcementError as error:
    print(error.hint)
"""


def entries(directory: Path) -> list[Path]:
    return sorted(directory.glob("*"))


def test_the_second_time_the_bytes_come_from_the_cache(tmp_path: Path) -> None:
    first = seccomp.filter_bytes("default", {}, str(tmp_path / "new" / "dir"))
    assert seccomp.filter_bytes("default", {}, str(tmp_path / "new" / "dir")) == first
    assert len(entries(tmp_path / "new" / "dir")) == 1
    code = CACHED_JOB
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, os.getcwd(), str(tmp_path / "new" / "dir")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(len(first)), "False", "False", "False", "False"]


def test_every_variant_and_table_text_has_its_own_entry(tmp_path: Path) -> None:
    cache_dir, tables = tmp_path / "cache", tmp_path / "tables"
    shutil.copytree(seccomp.shipped_tables(), tables)
    for variant in ({}, {"exec": "once"}, {"add": ["perf"]}, {"add": ["+perf"]}):
        seccomp.filter_bytes("default", variant, str(cache_dir), tables_dir=str(tables))
    assert len(entries(cache_dir)) == 3
    with open(tables / "default.yaml", "ab") as file:
        file.write(b"# changed\n")
    seccomp.filter_bytes("default", {}, str(cache_dir), tables_dir=str(tables))
    assert len(entries(cache_dir)) == 4


def test_a_planted_or_damaged_entry_is_never_used(tmp_path: Path) -> None:
    """Attack 59 (firejail CVE-2019-12589): filter files that somebody else may write."""
    good = seccomp.filter_bytes("default", {}, str(tmp_path))
    (entry,) = entries(tmp_path)
    content = entry.read_bytes()
    spoilt = [content[:-8], content[:-1] + b"\0", content.replace(b"seccomp 1", b"seccomp 2"), b"", b"x" * 100_000]
    for bad in spoilt:
        entry.write_bytes(bad)
        assert seccomp.filter_bytes("default", {}, str(tmp_path)) == good
        assert entry.read_bytes() == content, "the damaged entry is replaced"
    entry.chmod(0o666)
    assert cache.load(str(tmp_path), entry.stem) is None
    entry.chmod(0o644)
    assert cache.load(str(tmp_path), entry.stem) == good
    if os.geteuid() == 0:
        os.chown(entry, 65534, 65534)
        assert cache.load(str(tmp_path), entry.stem) is None


def test_the_entry_of_another_filter_under_this_name_is_not_used(tmp_path: Path) -> None:
    seccomp.filter_bytes("default", {}, str(tmp_path / "a"))
    seccomp.filter_bytes("default", {"add": ["ptrace"]}, str(tmp_path / "b"))
    (strict,), (loose,) = entries(tmp_path / "a"), entries(tmp_path / "b")
    strict.unlink()
    os.link(loose, strict)
    assert cache.load(str(tmp_path / "a"), strict.stem) is None
    strict.unlink()
    strict.symlink_to(loose)
    assert cache.load(str(tmp_path / "a"), strict.stem) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert seccomp.filter_bytes("default", {}, str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"exec": "maybe"}, "unknown exec mode"),
        ({"unixx": True}, "unknown system call setting"),
        ({"unix": 1}, "true or false"),
        ({"add": "perf"}, "list of names"),
        ({"add": ["pref"]}, "unknown system call addition"),
        ({"add": ["ptrace"], "exec": "trace"}, "contradict"),
        ({"add": ["xattr"], "live": True}, "contradict"),
    ],
)
def test_settings_that_mean_nothing_are_refused(variant: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        seccomp.filter_bytes("default", variant, None)


def test_additions_say_what_they_open() -> None:
    found = seccomp.additions("default")
    assert {"perf", "ptrace", "numa"} <= set(found)
    assert all(found.values())


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "none", "De", "a/b"])
def test_only_shipped_tables_have_names(name: str) -> None:
    with pytest.raises(ConfigurationError):
        seccomp.filter_bytes(name, {}, None)


def test_fail_closed(tmp_path: Path) -> None:
    """Attack 60: an unknown call name, an unsupported machine, no libseccomp: refused, never ignored."""
    tables = tmp_path / "tables"
    shutil.copytree(seccomp.shipped_tables(), tables)
    text = (tables / "default.yaml").read_text()
    (tables / "default.yaml").write_text(text.replace("calls: [getrandom]", "calls: [getrandum]"))
    with pytest.raises(EnforcementError, match="getrandum"):
        seccomp.filter_bytes("default", {}, None, tables_dir=str(tables))
    with pytest.raises(EnforcementError, match="for mips"):
        seccomp.filter_bytes("default", {}, None, machine="mips")
    code = WITHOUT_LIBRARY_JOB
    done = subprocess.run([sys.executable, "-c", code, os.getcwd()], capture_output=True, text=True, check=True)
    assert "libseccomp" in done.stdout
