"""Where a control group may be made: held against trees of plain files that look like a host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.kernel.places import alone, find, v2_candidates, v2_places

if TYPE_CHECKING:
    from pathlib import Path

ME = 4711
ALL = ("cpu", "io", "memory", "pids")


def tree(root: Path, *directories: str) -> str:
    for directory in directories:
        (root / directory).mkdir(parents=True)
    return str(root)


def group(
    root: Path, path: str, *, procs: str = "", available: str = "cpu io memory pids", kind: str = "domain"
) -> None:
    place = root / path
    place.mkdir(parents=True, exist_ok=True)
    files = {"procs": procs, "controllers": available, "subtree_control": ""}
    if path:
        files["type"] = kind
    for name, text in files.items():
        (place / f"cgroup.{name}").write_text(text and text + "\n")


def test_v1_hierarchies_with_joined_controllers_and_own_groups(tmp_path: Path) -> None:
    root = tree(tmp_path, "memory/me", "pids", "cpu,cpuacct/user")
    own = "5:memory:/me\n4:cpu,cpuacct:/user\n3:pids:/not/mounted/here\n2:perf_event:/\n1:name=systemd:/x\n0::/\n"
    assert find(own, ME, root) == (
        1,
        {
            "memory": f"{root}/memory/me",
            "cpu": f"{root}/cpu,cpuacct/user",
            "cpuacct": f"{root}/cpu,cpuacct/user",
        },
    )


def test_alone_in_a_delegated_scope_the_launcher_leaves_it(tmp_path: Path) -> None:
    group(tmp_path, "", available="cpu io memory pids")
    group(tmp_path, "app.slice/run.scope", procs=str(ME))
    own = "0::/app.slice/run.scope\n"
    place = f"{tmp_path}/app.slice/run.scope"
    assert find(own, ME, str(tmp_path)) == (2, dict.fromkeys(ALL, place))
    first = v2_places("/app.slice/run.scope", ME, str(tmp_path))[0]
    assert (first.directory, first.leave) == (place, True)
    assert alone(own, ME, str(tmp_path)) and not alone(own, ME + 1, str(tmp_path))


def test_with_company_in_the_scope_the_group_goes_beside_it(tmp_path: Path) -> None:
    """Who else is in the scope is not ours to move."""
    group(tmp_path, "")
    group(tmp_path, "user")
    group(tmp_path, "user/run.scope", procs=f"{ME}\n4712")
    places = v2_places("/user/run.scope", ME, str(tmp_path))
    assert [(place.directory, place.leave) for place in places] == [(f"{tmp_path}/user", False), (str(tmp_path), False)]


def test_a_group_with_processes_offers_nothing(tmp_path: Path) -> None:
    group(tmp_path, "", available="")
    group(tmp_path, "user", procs="1")
    group(tmp_path, "user/run.scope", procs=f"{ME}\n4712")
    assert find("0::/user/run.scope\n", ME, str(tmp_path)) == (0, {})


def test_threaded_groups_offer_nothing(tmp_path: Path) -> None:
    group(tmp_path, "", available="")
    group(tmp_path, "own", procs=str(ME), kind="domain threaded")
    assert find("0::/own\n", ME, str(tmp_path)) == (0, {})


def test_a_launcher_that_left_its_group_looks_beside_itself(tmp_path: Path) -> None:
    group(tmp_path, "")
    group(tmp_path, "run.scope")
    group(tmp_path, "run.scope/mlsandbox-launcher-7", procs=str(ME))
    path = "/run.scope/mlsandbox-launcher-7"
    assert v2_candidates(path, str(tmp_path)) == [f"{tmp_path}/run.scope", str(tmp_path)]
    assert find(f"0::{path}\n", ME, str(tmp_path))[1]["memory"] == f"{tmp_path}/run.scope"


def test_the_root_may_have_processes(tmp_path: Path) -> None:
    group(tmp_path, "", procs="1", available="memory pids")
    group(tmp_path, "init.scope", procs="1", available="")
    assert find("0::/init.scope\n", ME, str(tmp_path))[1] == dict.fromkeys(("memory", "pids"), str(tmp_path))


def test_the_place_that_offers_most_wins(tmp_path: Path) -> None:
    group(tmp_path, "")
    group(tmp_path, "user", available="memory")
    group(tmp_path, "user/own", available="memory", procs=str(ME))
    assert set(find("0::/user/own\n", ME, str(tmp_path))[1].values()) == {str(tmp_path)}


def test_hybrid_counts_as_v1_and_nothing_is_zero(tmp_path: Path) -> None:
    group(tmp_path, "", available="hugetlb")
    (tmp_path / "memory").mkdir()
    assert find("1:memory:/\n0::/\n", ME, str(tmp_path)) == (1, {"memory": f"{tmp_path}/memory"})
    assert find("0::/nowhere\n", ME, f"{tmp_path}/absent") == (0, {})
    assert find("", ME, str(tmp_path)) == (0, {})


def test_a_group_without_controllers_is_of_no_use(tmp_path: Path) -> None:
    group(tmp_path, "", available="")
    assert find("0::/\n", ME, str(tmp_path)) == (0, {})
