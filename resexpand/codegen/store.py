"""Generated modules as files: written once under the hash of their content, then imported.

The name of a file is a hash of its text, of the sources that its header binds it to, and of the
versions of Numba and of this package, so that a file of this name holds this text.
Because it is a file, Numba keeps the machine code beside it and a second process compiles nothing,
and a traceback points at a line. The folder is the user's cache folder or ``RESEXPAND_CACHE``.

A file is written under a temporary name and moved into place, so that processes may race. A file
that is already there is compared with the text before it is used, and only the text is ever
executed. A folder that others may write to is not used (`resexpand.codegen.cache_files`), nor is
one that cannot be written to: a temporary folder of this process stands in for it, with a
`CacheWarning`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from resexpand.codegen.cache_files import SUBFOLDER, make, remove_broken, why_unsafe
from resexpand.errors import StoreError

VARIABLE = "RESEXPAND_CACHE"
REMEDY = f"set {VARIABLE} to a folder that can be written to, and by you alone"
# Numba trusts cached machine code while time and size of the source file are unchanged. All files
# get the same time, so that the order of two racing writers does not matter.
WRITTEN = 946684800

_LOCK = threading.RLock()
_MODULES: dict[str, ModuleType] = {}


class CacheWarning(UserWarning):
    """Compiled code cannot be kept, so the next process compiles again."""


class _TextLoader(SourceFileLoader):
    """Import a text under the name of its file; no bytecode on disk is read or written."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return InspectLoader.source_to_code(self._text, self.path)


def load(source: str) -> ModuleType:
    """Return the module with this source text, written and imported at most once.

    Parameters
    ----------
    source : str
        The text of a module, as `resexpand.codegen.source.module_source` returns it. It is
        executed: never pass text that a user typed.
    """
    with _LOCK:
        if source not in _MODULES:
            _MODULES[source] = _imported(source, _written(source))
        return _MODULES[source]


def folder() -> Path:
    """Return the folder that generated modules are kept in.

    Raises
    ------
    StoreError
        If none is chosen and this user has no home, as in some containers.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    import platformdirs

    try:
        place = platformdirs.user_cache_path("resexpand")
    except (RuntimeError, KeyError):
        place = Path()
    if not place.is_absolute():
        raise StoreError("keeping generated code", "this user has no home folder", REMEDY)
    return place / "generated"


def checked_folder() -> Path:
    """Return the folder that generated modules are kept in, made and found safe.

    Raises
    ------
    OSError
        If there is none, it cannot be made, or others may write to it.
    """
    path = Path(os.path.realpath(folder()))  # a link could be turned elsewhere later
    make(path / SUBFOLDER)
    if why := why_unsafe(path):
        raise StoreError(
            f"keeping generated code in {str(path)!r}",
            f"{why}, and machine code in it would be executed",
            f"empty it and make it yours alone (chmod 700), or {REMEDY}",
        )
    return path


def key(source: str) -> str:
    """Return the hash that names the file of a source text."""
    return hashlib.sha256(f"{source}\0{foundation()}".encode()).hexdigest()


@cache
def foundation() -> str:
    """Return a hash of the sources and versions on which compiled modules depend."""
    versions = " ".join(map(_version, ("numba", "numba-cuda", "resexpand")))
    digest = hashlib.sha256(versions.encode())
    package = files("resexpand.codegen")
    names = [
        "callee",
        "outlined",
        "panels",
        "slots",
        "target",
        "targets",
        "tiles",
        "cuda/shares",
        "cuda/target",
    ]
    own = [package.joinpath(*f"{name}.py".split("/")) for name in names]
    for path in [*_by_name(package.joinpath("elementary").iterdir()), *own]:
        if path.name.endswith(".py"):
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _by_name(paths: Iterable[Traversable]) -> list[Traversable]:
    return sorted(paths, key=lambda path: path.name)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "uninstalled"


def _written(source: str) -> Path:
    """Return the path of a file that holds the text, in the cache folder or a temporary one."""
    name = f"{key(source)}.py"
    try:
        path = _ensure(checked_folder() / name, source)
    except OSError as error:
        asked = os.environ.get(VARIABLE) or "the cache folder of this user"
        path = _private_folder(asked, reason(error)) / name
        with contextlib.suppress(OSError):  # no disk has room: nothing is kept
            _ensure(path, source)
    if remove_broken(path.parent / SUBFOLDER, f"{path.stem}."):
        warnings.warn(
            f"compiled code in {str(path.parent)!r} was damaged or is of another user: "
            "it is compiled again",
            CacheWarning,
            stacklevel=4,
        )
    return path


def reason(error: OSError) -> str:
    """Return why a folder or file cannot be used, in words."""
    return str(error) if isinstance(error, StoreError) else error.strerror or type(error).__name__


def warn_unkept(error: OSError) -> None:
    """Warn that compiled code could not be written to the disk."""
    warnings.warn(
        f"compiled code cannot be kept ({reason(error)}): the next process compiles it again; make "
        f"room, or {REMEDY}",
        CacheWarning,
        stacklevel=4,
    )


@cache
def _private_folder(asked: str, why: str) -> Path:
    """Return a temporary folder for this process, with one warning per folder asked for."""
    warnings.warn(
        f"generated code cannot be kept in {asked} ({why}): every process compiles it again; "
        f"{REMEDY}",
        CacheWarning,
        stacklevel=5,
    )
    try:
        return Path(tempfile.mkdtemp(prefix="resexpand-"))
    except OSError:
        return Path(f"resexpand-{os.getpid()}").absolute()


def _ensure(path: Path, source: str) -> Path:
    """Make the file hold the text, unless it does already."""
    if _content(path) == source.encode():
        return path
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(source.encode())
        os.utime(temporary, (WRITTEN, WRITTEN))
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _imported(source: str, path: Path) -> ModuleType:
    """Import a text from its path, under a name that Numba finds again in another process."""
    name = f"resexpand_generated_{path.stem}"
    loader = _TextLoader(name, str(path), source)
    spec: ModuleSpec | None = spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"no import specification for {path}", name=name, path=str(path))
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
