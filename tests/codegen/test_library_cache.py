"""Machine code of library functions: found again while the library is the same, never in the way.

Laws: (1) another process finds the machine code; (2) another digest does not; (3) what is cut off,
full, or writable by others costs no number and no error; (4) closures are not kept.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from numba import njit

from resexpand.codegen import store
from resexpand.codegen.library_cache import LibraryCache


def twice(x):
    return x + x


def compiled(digest: str):
    """Return the function as a new process would compile it."""
    library = LibraryCache(lambda: digest)
    function = library.add(njit(twice))
    library.open()
    return function


def hits(function) -> int:
    return sum(function.stats.cache_hits.values())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.nb[ic]"))


def test_the_same_library_is_found_and_another_is_not(cache: Path) -> None:
    first, again, other = compiled("a"), compiled("a"), compiled("b")
    assert (first(1), again(1), other(1)) == (2, 2, 2)
    assert (hits(first), hits(again), hits(other)) == (0, 1, 0)
    assert len({path.parent for path in kept(cache)}) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in (cache / "__pycache__").iterdir())


def test_functions_added_later_are_kept_too(cache: Path) -> None:
    library = LibraryCache(lambda: "a")
    library.open()
    function = library.add(njit(twice))
    assert function(1) == 2
    assert len(kept(cache)) == 2


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 40])
def test_what_is_cut_off_is_compiled_again(suffix: str, left: int, cache: Path) -> None:
    compiled("a")(1)
    for path in kept(cache):
        if path.suffix == suffix:
            path.write_bytes(path.read_bytes()[:left])
    function = compiled("a")
    assert function(1) == 2
    assert hits(function) == 0
    mended = compiled("a")
    assert mended(1) == 2
    assert hits(mended) == 1


def test_a_full_disk_costs_no_number(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert compiled("a")(1) == 2
    assert kept(cache) == []


@pytest.mark.parametrize("place", ["", "__pycache__"])
def test_a_folder_that_others_may_write_to_is_not_used(place: str, cache: Path) -> None:
    compiled("a")(1)
    for path in kept(cache):
        path.write_bytes(b"cos\nabort\n(tR.")  # would end this process if it were read
    (cache / place).chmod(0o777)
    function = compiled("a")
    assert function(1) == 2
    assert hits(function) == 0
    assert {path.read_bytes() for path in kept(cache)} == {b"cos\nabort\n(tR."}


def test_closures_are_not_kept(cache: Path) -> None:
    step = 3

    def moved(x):
        return x + step

    library = LibraryCache(lambda: "a")
    library.open()
    assert library.add(njit(moved))(1) == 4
    assert kept(cache) == []
