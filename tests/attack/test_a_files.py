"""Attacks 1 to 23: the file system, as the job tries it."""

from __future__ import annotations

import hashlib
import os

from tests.attack.report import Report
from tests.sandboxed import PYTHON, Host

PROBE = "files"
POLICY = {"cmd": ["su", "mount", "passwd", "gpasswd", "newgrp"]}


def test_a01_secrets_of_the_host_are_not_there(report: Report) -> None:
    report.all("a01", "ENOENT")


def test_a02_nothing_of_the_system_can_be_written(report: Report) -> None:
    report.all("a02", "EROFS", "EACCES", "ENOENT")


def test_a03_symlink_out_of_a_granted_tree(report: Report, attacked: Host) -> None:
    report.all("a03", "ENOENT")
    assert not os.path.lexists(f"{attacked.workspace}/out/s")


def test_a04_symlink_in_a_parent_component(report: Report, attacked: Host) -> None:
    assert report["a04.parent_link"] == "ENOENT"
    assert not os.path.lexists(f"{attacked.workspace}/out/d")
    assert report["a04.swap_granted_directory"] == "ok"  # inside its own overlay it may
    assert not os.path.islink(f"{attacked.workspace}/out/sub")
    assert not os.path.lexists("/tmp/through-a-link.txt")


def test_a07_hard_links_between_grants(report: Report) -> None:
    report.all("a07", "EXDEV", "EROFS", "EPERM")


def test_a11_spellings_of_a_path_have_one_verdict(report: Report) -> None:
    report.all("a11", "ENOENT")


def test_a12_roots_of_other_processes(report: Report) -> None:
    report.all("a12.open", "EACCES")
    assert report["a12.roots"] == "none"


def test_a13_open_by_handle(report: Report) -> None:
    report.all("a13", "EPERM")


def test_a14_no_directory_descriptor_is_inherited(report: Report) -> None:
    assert report["a14.directory_descriptors"] == "none"
    report.all("a14", "none", "ENOENT", "ENOTDIR")


def test_a15_the_image_of_a_running_program(report: Report) -> None:
    report.all("a15", "EACCES", "EROFS", "ETXTBSY")
    with open(os.path.realpath(PYTHON), "rb") as file:
        assert report["a15b.interpreter_is_unchanged"] == hashlib.sha256(file.read()).hexdigest()


def test_a16_anonymous_images(report: Report) -> None:
    report.all("a16", "EPERM", "ENOSYS")


def test_a17_copies_of_a_granted_program(report: Report) -> None:
    report.all("a17", "EACCES")


def test_a17_the_loader_on_a_writable_tree(report: Report) -> None:
    report.all("a17b", "refused")


def test_a17_executable_mappings_of_writable_files(report: Report) -> None:
    report.all("a17c", "EPERM", "EACCES")
    assert report["a17d.dlopen"] == "refused"
    assert report["a17d.preload"] == "ignored"


def test_a17_the_loader_on_a_program_that_is_not_granted(report: Report) -> None:
    report.all("a17e", "killed", "EACCES")


def test_a18_device_nodes(report: Report) -> None:
    report.all("a18", "EPERM", "ENOENT")


def test_a19_set_id_files(report: Report, attacked: Host) -> None:
    report.all("a19", "EPERM", "ENOSYS")
    for directory, _, names in os.walk(f"{attacked.workspace}/out"):
        assert not [n for n in names if os.lstat(f"{directory}/{n}").st_mode & 0o6000]


def test_a19_set_id_programs_have_no_effect(report: Report) -> None:
    assert report["a19b.no_new_privs"] == "1"
    assert report["a19c.mounts_without_nosuid"] == "none"
    assert report["a19d.setuid_programs"] == "same"


def test_a20_attributes(report: Report) -> None:
    report.all("a20", "ENOTSUP", "EPERM")


def test_a21_whiteouts(report: Report) -> None:
    report.all("a21", "EPERM", "EINVAL")


def test_a23_watching_what_others_read(report: Report) -> None:
    report.all("a23", "EPERM")
