"""``profile``: the residual blocks of a PyTorch model that a Python file makes."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

import resexpand
from resexpand.cli.show import record, say, warn
from resexpand.cli.values import integer, split
from resexpand.errors import HyperparameterError, ResexpandError, StoreError
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.files import reason_of
from resexpand.models.description import from_torch
from resexpand.models.library import torch_for
from resexpand.models.profiling import profile

LIBRARIES = tuple(
    str(Path(path).parent)
    for path in (resexpand.__path__[0] + "/", np.__path__[0], importlib.__path__[0])
)
"""Folders whose lines say nothing about the place of an error: this package, and installed ones."""

SUFFIXES = (".npy", ".npz")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    torch_for("the profile of a model")
    batch = batch_of(Path(arguments.batch))
    model = model_of(arguments.model)
    if hasattr(model, "train"):
        model.train(arguments.train)
    blocks = None
    if arguments.blocks is not None:
        blocks = [part.strip() for part in split(arguments.blocks, ",")]
    seed = integer(arguments.seed, "--seed", minimum=0)
    with code_of_user(f"the model {arguments.model!r} on the batch {arguments.batch!r}"):
        described = from_torch(model, batch) if arguments.describe else None
        measured = profile(model, batch, blocks=blocks, per=arguments.per, net=described, seed=seed)
    for note in (*measured.notes, *(described.notes if described else ())):
        warn(note)
    if arguments.json:
        record(
            command="profile",
            settings={**measured.settings, "blocks": blocks, "seed": arguments.seed},
            description=None if described is None else repr(described.net),
            citations=[str(citation) for citation in measured.citations],
            results={
                "names": measured.names,
                "kinds": measured.kinds,
                "evaluations": measured.evaluations,
                **dict(measured.items()),
            },
        )
    else:
        say(str(measured.card()))
        if described is not None:
            say(f"described as {described.net!r}")
        say()
        say(measured.table())
    for path in _written(measured, arguments):
        warn(f"wrote {path}")
    return 0


def _written(measured: Any, arguments: argparse.Namespace) -> list[Path]:
    files = [] if arguments.save is None else [measured.save(arguments.save)]
    return files + (
        [] if arguments.out is None else list(save_figure(measured.plot(), Path(arguments.out)))
    )


def model_of(text: str) -> Any:
    """Return the model that a file makes, ``MODEL.py:FACTORY``.

    Raises
    ------
    HyperparameterError
        If the text names no file and no name in it, or that is no model.
    StoreError
        If the file cannot be read.
    """
    name, _, factory = text.rpartition(":")
    asked = f"the model {text!r}"
    if not name.endswith(".py") or not factory.isidentifier():
        raise HyperparameterError(asked, "it names no file with a name in it", "file.py:name")
    path = Path(name)
    if not path.is_file():
        raise StoreError(asked, "there is no such file", "name a Python file")
    spec = importlib.util.spec_from_file_location(f"resexpand_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StoreError(asked, "it cannot be loaded", "name a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with code_of_user(asked):
            spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    if not hasattr(module, factory):
        raise HyperparameterError(asked, f"the file defines no {factory}", "name what it defines")
    made = getattr(module, factory)
    if hasattr(made, "named_modules") and not isinstance(made, type):
        return made
    if not callable(made):
        raise HyperparameterError(asked, f"it is of type {type(made).__name__}", "name a function")
    with code_of_user(asked):
        return made()


@contextmanager
def code_of_user(asked: str) -> Iterator[None]:
    """Turn an error of the user's own code into one line that says where it happened.

    Raises
    ------
    HyperparameterError
        Of what the code raises, errors of this package excepted.
    """
    try:
        yield
    except (ResexpandError, MemoryError):
        raise
    except Exception as error:
        own = [f for f in extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
        place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        words = " ".join(str(error).split())
        raise HyperparameterError(
            asked, f"its code raised {type(error).__name__}{place}: {words}", "mend it"
        ) from error


def batch_of(path: Path) -> Any:
    """Return the batch of a file: an array, or arrays by keyword.

    Raises
    ------
    HyperparameterError
        If its suffix is unknown.
    StoreError
        If it cannot be read.
    """
    asked = f"the batch {path.name!r}"
    if path.suffix not in SUFFIXES:
        raise HyperparameterError(asked, "its suffix is unknown", f"use {' or '.join(SUFFIXES)}")
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(asked, reason_of(error), "numpy.save and numpy.savez make such") from error
    if path.suffix == ".npy":
        return np.ascontiguousarray(loaded)
    with loaded:
        return {name: np.ascontiguousarray(loaded[name]) for name in loaded.files}
