"""Where each formula comes from: papers, the place in them, and their BibTeX.

A `Reference` is one paper; a `Citation` is a place in it (equation, section, theorem). Whatever the
package derives carries a tuple ``citations``, and `cite` prints the bibliography of any number of
such results. The papers stand in ``references.toml``, a table each.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from resexpand.errors import ResexpandError


class CitationError(ResexpandError, TypeError):
    """Something was to be cited that does not say what it rests on."""


# BibTeX of 1988 reads ASCII; these are the accents that the authors below need.
_ACCENTS = {"é": r"{\'e}", "ö": r"{\"o}", "ü": r"{\"u}", "–": "--"}


def _ascii(text: str) -> str:
    return "".join(_ACCENTS.get(character, character) for character in text)


@dataclass(frozen=True)
class Reference:
    """One paper.

    Parameters
    ----------
    key : str
        BibTeX key: first author and year, lower case.
    authors : tuple of str
        ``"Family, Given"``, in the order of the paper.
    title : str
        Words whose capitals must survive are recognised and protected in `bibtex`.
    year : int
        Of the version that `venue` names, otherwise of the first version.
    venue : str, optional
        Journal or proceedings.
    volume, pages : str, optional
        As printed; page ranges with an en dash.
    arxiv, doi : str, optional
        Identifiers without any prefix.
    note : str, optional
        Remark for readers who look the paper up.
    proceedings : bool, optional
        Whether `venue` is a book of proceedings, not a journal.

    Raises
    ------
    ValueError
        If the paper could not be found by what is given: without venue, arXiv number or DOI.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    venue: str = ""
    volume: str = ""
    pages: str = ""
    arxiv: str = ""
    doi: str = ""
    note: str = ""
    proceedings: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.key):
            raise ValueError(f"BibTeX key {self.key!r} must be lower-case letters, digits, _")
        if not self.authors or any(author.count(",") != 1 for author in self.authors):
            raise ValueError(f"authors of {self.key} must be written 'Family, Given'")
        if not (self.venue or self.arxiv or self.doi):
            raise ValueError(f"{self.key} has no venue, arXiv number or DOI to find it by")

    @property
    def short(self) -> str:
        """Authors and year as in running text, ``Fischer, Dahmen & Helias 2023``."""
        family = [author.split(",")[0] for author in self.authors]
        if len(family) > 4:
            return f"{family[0]} et al. {self.year}"
        head = ", ".join(family[:-1])
        return f"{head} & {family[-1]} {self.year}" if head else f"{family[-1]} {self.year}"

    def at(self, locator: str) -> Citation:
        """Return the citation of one place in this paper, such as ``"eq. (12)"``."""
        return Citation(self, locator)

    def bibtex(self) -> str:
        """Return the BibTeX entry, in ASCII, its fields in a fixed order."""
        fields = {
            "author": " and ".join(self.authors),
            "title": _protect_capitals(self.title),
            ("booktitle" if self.proceedings else "journal"): self.venue,
            "volume": self.volume,
            "pages": self.pages,
            # Styles older than arXiv ignore `eprint`; this they print.
            "howpublished": "" if self.venue or not self.arxiv else f"arXiv:{self.arxiv}",
            "year": str(self.year),
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "doi": self.doi,
            "note": self.note,
        }
        kind = "misc" if not self.venue else "inproceedings" if self.proceedings else "article"
        lines = [f"  {name} = {{{_ascii(value)}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


def _protect_capitals(title: str) -> str:
    """Brace words with capitals, except a plain first one: styles put the rest in lower case."""
    words = title.split(" ")
    protected = [
        f"{{{word}}}" if re.search(r"[A-Z]", word[1:] if i == 0 else word) else word
        for i, word in enumerate(words)
    ]
    return " ".join(protected)


@dataclass(frozen=True)
class Citation:
    """A place in a paper.

    Parameters
    ----------
    reference : Reference
        The paper.
    locator : str, optional
        Equation, section or theorem in it, as the paper numbers them. Empty for the whole paper.
    """

    reference: Reference
    locator: str = ""

    def __str__(self) -> str:
        return f"{self.reference.short}, {self.locator}" if self.locator else self.reference.short


def _papers() -> dict[str, Reference]:
    """Read ``references.toml``, one table per paper."""
    text = resources.files("resexpand").joinpath("references.toml").read_text(encoding="utf-8")
    return {
        key: Reference(key, **{**fields, "authors": tuple(fields["authors"])})
        for key, fields in tomllib.loads(text).items()
    }


REFERENCES: Mapping[str, Reference] = MappingProxyType(_papers())
"""Every paper the package rests on, by BibTeX key: the tables of ``references.toml``."""


def _citations_of(thing: object) -> Iterable[Citation]:
    if isinstance(thing, Citation):
        return (thing,)
    if isinstance(thing, Reference):
        return (Citation(thing),)
    found = getattr(thing, "citations", None)
    if not isinstance(found, tuple) or not all(isinstance(c, Citation) for c in found):
        raise CitationError(
            f"cannot cite an object of type {type(thing).__name__}",
            "it has no attribute 'citations' that is a tuple of Citation",
            "cite what the package derives, a Citation, or an entry of REFERENCES",
        )
    return found


def cite(*objects: object) -> str:
    """Return the BibTeX of all that the given results rest on.

    Parameters
    ----------
    *objects
        Results with an attribute ``citations`` (a tuple of `Citation`), or citations and
        references themselves.

    Returns
    -------
    str
        One entry per paper, sorted by key, separated by an empty line; empty if nothing rests on a
        paper.

    Raises
    ------
    CitationError
        If an object does not say what it rests on.
    """
    papers = {
        citation.reference.key: citation.reference
        for thing in objects
        for citation in _citations_of(thing)
    }
    return "\n\n".join(papers[key].bibtex() for key in sorted(papers))
