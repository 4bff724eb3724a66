"""Base class of numerical results: figures, files, and export to xarray and pandas."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any


class Kept:
    """Results with arrays: of a theory, of samples, of a comparison.

    Files and figures stand above all theory, so they are loaded when they are asked for.
    """

    def plot(self, name: str | None = None, *, ax: Any = None, **options: Any) -> Any:
        """Draw one of the arrays; see `resexpand.export.figures.plots.plot`.

        Parameters
        ----------
        name : str, optional
            Key of the array; by default the one that says most.
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        **options
            ``title=False`` leaves out the verdict of a comparison; ``theory=`` adds what `evaluate`
            returned to the points of a sample.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, of the house style unless `ax` was given.

        Raises
        ------
        UnsupportedError
            If the array has nothing to be drawn against.
        KeyError
            If there is no such array.
        """
        return import_module("resexpand.export.figures.plots").plot(self, name, ax=ax, **options)

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` with named dimensions and coordinates.

        Returns
        -------
        xarray.Dataset
            Dimensions ``layer``, ``input``, ``other_input``, ``order``, and one per hyperparameter
            that was given as an array, with its values as coordinate. Settings, status and
            citations are attributes.

        Raises
        ------
        UnsupportedError
            If xarray is not installed.
        """
        return import_module("resexpand.export.dataset").to_xarray(self)

    def to_dataframe(self, name: str | None = None) -> Any:
        """Return a `pandas.DataFrame`: a row per entry, its indices as columns.

        Parameters
        ----------
        name : str, optional
            Take the columns of this array alone; needed where arrays have different dimensions.

        Raises
        ------
        UnsupportedError
            If xarray, which brings pandas, is not installed.
        """
        return import_module("resexpand.export.dataset").to_dataframe(self, name)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a file that ``resexpand.load`` reads back: ``.npz``; or for others to read.

        Parameters
        ----------
        path : path
            The suffix chooses: ``.npz`` (arrays and settings, everything), ``.csv``, ``.nc``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        UnsupportedError
            If the suffix is unknown, or a library for it is not installed.
        StoreError
            If the file cannot be written.
        """
        written: Path = import_module("resexpand.export.result_files").save(self, Path(path))
        return written
