from __future__ import annotations

import pytest

from launcher.capability import PathPattern, Scope
from launcher.errors import DocumentError

SCOPE = Scope("/home/user", "/work/base")

MATCHES = [
    # design section 5 and kernel-facts 23
    ("/data/**/*.txt", "/data/x.txt", True),
    ("/data/**/*.txt", "/data/a/b/x.txt", True),
    ("/data/**/*.txt", "/datax.txt", False),
    ("/data/**", "/data", False),
    ("/data/**", "/data/a/b", True),
    ("/data/**", "/database", False),
    ("/data/*", "/data/a/b", False),
    ("/data/*", "/data/.hidden", True),
    ("/a/**/b", "/a/b", True),
    ("/a/**/b", "/a/x/y/b", True),
    ("/a/**/b", "/a/xb", False),
    ("/a/**/b/**/c", "/a/b/b/c/c", True),
    ("/a/**/b/**/c", "/a/c/b", False),
    ("/a/*/c/*", "/a/b/c/d", True),
    ("/**", "/etc/passwd", True),
    ("/**", "/", False),
    ("/", "/", True),
    ("/a/[!a]", "/a/b", True),
    ("/a/[!a]", "/a/a", False),
    ("/a/[!a]b", "/a//b", False),
    ("/a/?", "/a/\u00e9", True),
    ("/a/?", "/a/\udcff", True),
    ("/a/??", "/a/\udcff\udcfe", True),
    ("/a/?", "/a/\udcff\udcfe", False),
    ("/a/[a-c]x", "/a/bx", True),
    ("/a/[a-]x", "/a/-x", True),
    ("/a/[]a]", "/a/]", True),
    ("/a/[\\]]", "/a/]", True),
    ("/a/[!]a]", "/a/b", True),
    ("/a/\\*", "/a/*", True),
    ("/a/\\*", "/a/b", False),
    ("/a/*.csv", "/a/x\n.csv", True),
    ("/a/*.csv", "/a/x.csv\n", False),
    ("/a/*b*c", "/a/bbcbc", True),
    ("/a/*ab", "/a/aab", True),
    ("/a/b*b", "/a/b", False),
    # anchors
    ("~/x", "/home/user/x", True),
    ("~", "/home/user", True),
    ("@base/x", "/work/base/x", True),
    ("x/*", "/work/base/x/y", True),
    ("./x//y/", "/work/base/x/y", True),
    ("a/../b", "/work/base/b", True),
    ("/data/./a/../b", "/data/b", True),
    ("./~odd", "/work/base/~odd", True),
    ("**/.env", "/anywhere/.env", True),
    ("**/.env", "/.env", True),
    ("**", "/x", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_matching(pattern: str, path: str, expected: bool) -> None:
    assert bool(PathPattern(pattern, SCOPE).matches(path)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/a\0b",
        "/a/b**",
        "/a/**b/c",
        "/a/***",
        "/a/[b",
        "/a/[b/c]",
        "/a/[^b]",
        "/a/[z-a]",
        "/a/b\\",
        "~other/x",
        "@bas/x",
        "../x",
        "x/../../y",
        "/a/*/../b",
        "/a/**/../b",
        "/" + "a" * 5000,
        "/a/\ud800",
        "/a/[\\/]",
    ],
)
def test_errors_have_a_sentence(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        PathPattern(text, SCOPE)
    assert "path" in caught.value.message or "pattern" in caught.value.message


@pytest.mark.parametrize(
    ("text", "prefix", "anchored"),
    [
        ("/data/a*/b", "/data", True),
        ("/data/x.csv", "/data", True),
        ("/**", "/", True),
        ("**/x", "/", False),
        ("x/*", "/work/base/x", True),
        ("/a/\\*/b?", "/a/*", True),
    ],
)
def test_prefix_and_anchor(text: str, prefix: str, anchored: bool) -> None:
    pattern = PathPattern(text, SCOPE)
    assert (pattern.prefix, pattern.anchored) == (prefix, anchored)


@pytest.mark.parametrize(
    ("text", "directory", "expected"),
    [
        ("/data/*.csv", "/data", True),
        ("/data/*.csv", "/", True),
        ("/data/*.csv", "/data/x", False),
        ("/data/*.csv", "/data/x.csv", False),
        ("/data/**/x", "/data/a/b", True),
        ("/data/*/x", "/data/a", True),
        ("/data/*/x", "/data/a/x", False),
        ("/data/a*/x", "/data/b", False),
        ("/data/**", "/dat", False),
        ("**/x", "/any/where", True),
    ],
)
def test_could_match_below(text: str, directory: str, expected: bool) -> None:
    assert PathPattern(text, SCOPE).could_match_below(directory) is expected


@pytest.mark.parametrize(("text", "directory"), [("/d/*", "/d"), ("/d/**", "/d"), ("/d/**/*", "/d/x"), ("/*", "/")])
def test_a_whole_directory_lists_itself(text: str, directory: str) -> None:
    listed = PathPattern(text, SCOPE).listed_directory()
    assert listed is not None
    assert listed.matches(directory)


def test_one_file_lists_nothing() -> None:
    assert PathPattern("/d/*.csv", SCOPE).listed_directory() is None


def test_many_stars_are_not_exponential() -> None:
    pattern = PathPattern("/" + "a*" * 60 + "b", SCOPE)
    assert not pattern.matches("/" + "a" * 250)
    directories = PathPattern("/" + "**/a/" * 60 + "b", SCOPE)
    assert not directories.matches("/a" * 400)
