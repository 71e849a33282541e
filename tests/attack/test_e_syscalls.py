"""Attacks 49 to 60: getting past the filter of system calls."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.attack.report import CAPABILITIES, Report, program

if TYPE_CHECKING:
    from tests.sandboxed import Host

PROBE = "processes"


def test_e49_x32_numbers(report: Report) -> None:
    report.all("e49", "ENOSYS")
    report.all("e49b", "ENOSYS")


def test_e50_calls_of_another_architecture(report: Report) -> None:
    report.all("e50", "SIGSYS")
    report.all("e50b", "EACCES", "ENOEXEC")
    report.all("e50c", "ok")


def test_e51_io_uring(report: Report) -> None:
    report.all("e51", "EPERM", "ENOSYS")


def test_e52_padding_of_arguments(report: Report) -> None:
    report.all("e52", "EPERM")


def test_e53_variants_of_one_operation(report: Report) -> None:
    report.all("e53", "EPERM", "ENOTSUP")


def test_e56_filters_of_the_jobs_own(report: Report) -> None:
    report.all("e56", "EPERM")


def test_e57_calls_that_no_job_needs(report: Report) -> None:
    report.all("e57", "EPERM", "ENOSYS")


def test_e58_unknown_numbers(report: Report) -> None:
    report.all("e58", "ENOSYS")


def test_e59_no_state_of_the_launcher_is_in_view(report: Report) -> None:
    report.all("e59", "none")


@pytest.mark.parametrize("syscalls", [{"add": ["nonsense"]}, {"table": "nonsense"}, {"add": ["mount"]}])
def test_e60_an_unknown_call_in_a_base_profile_is_refused(attacked: Host, syscalls: dict[str, Any]) -> None:
    """firejail#2931: what cannot be compiled is not left out."""
    directory = f"{attacked.root}/profiles"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/odd.yaml", "w", encoding="utf-8") as file:
        json.dump({"profile": {"description": "odd", "extends": "default"}, "syscalls": syscalls}, file)
    if os.geteuid() == 0:
        os.chown(directory, attacked.uid, attacked.gid)
        os.chown(f"{directory}/odd.yaml", attacked.uid, attacked.gid)
    attacked.policy(CAPABILITIES, base="odd")
    try:
        ran = attacked.launch(*program(PROBE, "e59"))
        assert ran.status in {125, 126} and not ran.out, ran
        assert "internal error" not in ran.err and ("nonsense" in ran.err or "mount" in ran.err), ran
    finally:
        os.unlink(f"{directory}/odd.yaml")
