"""The compile cache in places that are shared, full, cut off or missing: numbers come all the same.

Laws: (1) machine code is never read from a folder that others may write to; (2) a file that was cut
off anywhere is compiled again, with a warning; (3) what cannot be written does not cost a number;
(4) settings of Numba that make compiling impossible are named in one error.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from resexpand.codegen import cache_files, store
from resexpand.errors import StoreError

TEXT = '''"""A generated module, number {0}."""

from resexpand.codegen.targets import cpu as _t

driver = _t.driver


@driver
def run(x):
    return x + {0}
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def loaded(number: int):
    """Load a module as a new process would."""
    text = TEXT.format(number)
    store._MODULES.pop(text, None)
    sys.modules.pop(f"resexpand_generated_{store.key(text)}", None)
    return store.load(text)


def files(cache: Path, suffix: str = "") -> list[Path]:
    return sorted(p for p in cache.rglob(f"*{suffix}") if p.is_file())


def test_folders_are_made_for_their_user_alone(cache: Path) -> None:
    before = os.umask(0)
    try:
        assert loaded(1).run(1) == 2
    finally:
        os.umask(before)
    for path in (cache, cache.parent, cache / "__pycache__"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert {p.suffix for p in files(cache)} == {".py", ".nbi", ".nbc"}


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o702, 0o1777])
@pytest.mark.parametrize("place", ["", "__pycache__"])
def test_a_folder_that_others_may_write_to_is_not_used(place: str, mode: int, cache: Path) -> None:
    assert loaded(2).run(1) == 3
    for path in files(cache, ".nbi"):
        path.write_bytes(b"cos\nabort\n(tR.")  # would end this process if it were read
    (cache / place).chmod(mode)
    before = {path: path.read_bytes() for path in files(cache)}
    store._private_folder.cache_clear()
    with pytest.warns(store.CacheWarning, match=r"others may write to it.*chmod 700"):
        assert loaded(2).run(1) == 3
    assert {path: path.read_bytes() for path in files(cache)} == before


def test_a_folder_below_one_that_others_may_write_to_is_not_used(cache: Path) -> None:
    loaded(3)
    cache.parent.chmod(0o777)
    assert "above it" in cache_files.why_unsafe(cache)
    cache.parent.chmod(0o1777)  # names of others cannot be taken over there, as in /tmp
    assert cache_files.why_unsafe(cache) == ""
    cache.parent.chmod(0o755)
    assert cache_files.why_unsafe(cache) == ""


def test_a_folder_of_another_user_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(3)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreError, match=r"belongs to another user.*RESEXPAND_CACHE"):
        store.checked_folder()


def test_every_file_cut_off_anywhere_is_compiled_again(cache: Path) -> None:
    chance = random.Random(7)
    assert loaded(4).run(1) == 5
    whole = {path: path.read_bytes() for path in files(cache)}
    assert len(whole) == 3
    for path, data in whole.items():
        for length in [0, 1, len(data) - 1, *(chance.randrange(len(data)) for _ in range(5))]:
            path.write_bytes(data[:length])
            if path.suffix == ".py":  # its text is known
                assert loaded(4).run(1) == 5
            else:
                with pytest.warns(store.CacheWarning, match="was damaged"):
                    module = loaded(4)
                assert module.run(1) == 5
            # Whole again: a warning would be an error here. Numbers in names may grow a digit.
            assert path.stat().st_size > length
            assert loaded(4).run(1) == 5
    # Whole files are used, and nothing is warned of.
    module = loaded(4)
    assert module.run(1) == 5
    assert sum(module.run.stats.cache_hits.values()) == 1


def test_zeros_after_a_power_cut(cache: Path) -> None:
    loaded(5).run(1)
    for path in files(cache, ".nbi"):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.warns(store.CacheWarning, match="was damaged"):
        assert loaded(5).run(1) == 6


def test_blocks_of_zeros_and_flipped_bits(cache: Path) -> None:
    """A power cut leaves blocks of zeros in files of full length: machine code that ends Python."""
    chance = random.Random(8)
    assert loaded(9).run(1) == 10
    for path in files(cache, ".nbc") + files(cache, ".nbi"):
        data = path.read_bytes()
        middle = len(data) // 3
        damaged = [data[:middle] + bytes(min(512, len(data) - middle)) + data[middle + 512 :]]
        for _ in range(6):
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            damaged.append(bytes(flipped))
        for content in damaged:
            path.write_bytes(content)
            with pytest.warns(store.CacheWarning, match="was damaged"):
                module = loaded(9)
            assert module.run(1) == 10
    assert not cache_files.remove_broken(cache / "__pycache__", store.key(TEXT.format(9)))


def test_files_that_another_user_left_are_not_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder open to all, closed by its user when told to: what was put there stays there."""
    assert loaded(10).run(1) == 11
    place, stem = cache / "__pycache__", store.key(TEXT.format(10))
    (index,) = files(cache, ".nbi")
    elsewhere = cache / "copy"
    index.rename(elsewhere)
    index.symlink_to(elsewhere)
    with pytest.warns(store.CacheWarning, match="of another user"):
        assert loaded(10).run(1) == 11
    index.unlink()
    os.mkfifo(index)  # opened, it would never answer
    assert cache_files.remove_broken(place, stem)
    assert loaded(10).run(1) == 11
    assert not cache_files.remove_broken(place, stem)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache_files.remove_broken(place, stem)
    assert not files(cache, ".nbi")


def test_a_link_is_followed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a link may turn it after the check."""
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "link"))
    assert store.checked_folder() == tmp_path / "missing"


def test_a_disk_that_is_full_costs_no_number(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full between compiling and writing: Numba renames its files into place."""
    original, failed = os.replace, []

    def full(source: str, target: str) -> None:
        if str(target).endswith((".nbi", ".nbc")):
            failed.append(target)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(source, target)

    module = loaded(6)
    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(store.CacheWarning, match="No space left on device"):
        assert module.run(1) == 7
    assert failed
    assert module.run(2) == 8  # in memory: no second warning


def test_a_disk_that_is_full_from_the_start(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store._private_folder.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(store.tempfile, "mkstemp", full)
        patch.setattr(store.tempfile, "mkdtemp", full)
        with pytest.warns(store.CacheWarning, match="No space left on device"):
            module = loaded(7)
    assert module.run(1) == 8
    store._private_folder.cache_clear()


@pytest.mark.parametrize("place", [RuntimeError("no home"), KeyError("uid 12345"), "~/.cache/x"])
def test_a_user_without_a_home(place: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> Path:
        if isinstance(place, Exception):
            raise place
        return Path(str(place))

    monkeypatch.delenv(store.VARIABLE, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", nowhere)
    store._private_folder.cache_clear()
    with pytest.warns(store.CacheWarning, match=r"no home folder.*RESEXPAND_CACHE"):
        assert loaded(8).run(1) == 9
    assert not Path("~").exists()


SETTINGS = """
from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=1, depth=2)
print(evaluate(kernel(net), K0=[1.0] * 9)["K"][0])
"""


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"NUMBA_THREADING_LAYER": "nonsense"}, "[1. 2. 4.]"),
        ({"NUMBA_DISABLE_JIT": "1"}, "UnsupportedError: compiling with NUMBA_DISABLE_JIT set"),
    ],
    ids=["layer", "no compiler"],
)
def test_settings_of_numba(setting: dict[str, str], expected: str, tmp_path: Path) -> None:
    environment = {**os.environ, **setting, store.VARIABLE: str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        (found.stdout + found.stderr)
        .strip()
        .splitlines()[-1]
        .startswith(("resexpand.errors." if "Error" in expected else "") + expected)
    )
