"""Attacks 49 to 60: getting past the filter of system calls."""

from __future__ import annotations

import json

from tests.attack.report import CAPABILITIES, Report, program
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


def test_e60_an_unknown_call_in_a_base_profile_is_refused(attacked: Host) -> None:
    """firejail#2931: what cannot be compiled is not left out."""
    for number, syscalls in enumerate(({"add": ["+nonsense"]}, {"table": "nonsense"}, {"add": ["no_such_call"]})):
        profile = f"{attacked.root}/profiles"
        attacked.run("whoami")
        import os

        os.makedirs(profile, exist_ok=True)
        with open(f"{profile}/odd{number}.yaml", "w", encoding="utf-8") as file:
            json.dump({"profile": {"description": "odd", "extends": "default"}, "syscalls": syscalls}, file)
        if os.geteuid() == 0:
            os.chown(profile, attacked.uid, attacked.gid)
            os.chown(f"{profile}/odd{number}.yaml", attacked.uid, attacked.gid)
        attacked.policy(CAPABILITIES, policy={"base": f"odd{number}"})
        ran = attacked.launch(*program(PROBE, "e59"))
        assert ran.status in {2, 125, 126} and not ran.out, ran
        assert "Traceback" not in ran.err
