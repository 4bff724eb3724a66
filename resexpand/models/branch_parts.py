"""What a branch is made of, as it was read: linear maps, gated units, values of attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.network.activation import Activation
from resexpand.network.gate import Gate
from resexpand.network.linear import Linear
from resexpand.network.operation import Operation

Step = Callable[[Any], Any]
"""From rows to rows."""


@dataclass(eq=False)
class Map:
    """A linear map with its weights, shape (outputs, inputs); a copy belongs to a gate."""

    name: str
    weight: Any
    bias: Any = None
    is_copy: bool = False

    @property
    def form(self) -> str:
        """What is the same at blocks of one kind, beside the law of the weights."""
        return "copy" * self.is_copy

    def operation(self, variance: Any, bias: Any, like: Sequence[Map]) -> Operation:
        """Return the operation of variances, for this map and those like it in other blocks."""
        return Linear(variance, bias)

    def on(self, rows: Any) -> Any:
        """Return the image of rows."""
        rows = rows @ self.weight.double().T
        return rows if self.bias is None else rows + self.bias.double()

    def rows(self, start: int, stop: int | None, said: str = "") -> Map:
        """Return some of its rows as a map."""
        bias = None if self.bias is None else self.bias[start:stop]
        return Map(f"{self.name}{said}", self.weight[start:stop], bias)

    def chosen(self, places: list[int], said: str = "") -> Map:
        """Return some of its rows, by their numbers, as a map."""
        bias = None if self.bias is None else self.bias[places]
        return Map(f"{self.name}{said}", self.weight[places], bias)

    def halves(self) -> tuple[Map, Map]:
        """Return the maps that are packed in this one."""
        size = len(self.weight) // 2
        return self.rows(0, size, " (first half)"), self.rows(size, None, " (second half)")


@dataclass
class Reading:
    """A branch as it was read.

    Attributes
    ----------
    parts : list of Operation, Map or str
        In the order of the data; ``"attention"`` where tokens read each other.
    steps : list of callable
        What the parts do to rows of the stream, with all that the parts approximate.
    notes : list of str
        What was approximated.
    spread : float or None
        Standard deviation of the logits of attention, for inputs of unit second moment.
    choices : list of Choice
        The gated units.
    """

    parts: list[Any] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spread: float | None = None
    choices: list[Choice] = field(default_factory=list)

    def add(self, part: Any, step: Step = lambda rows: rows) -> None:
        """Add a part with what it does."""
        self.parts.append(part)
        self.steps.append(step)

    def gate(self, choice: Choice) -> None:
        """Add a gated unit."""
        self.choices.append(choice)
        steps = (choice.both, choice.product, lambda rows: rows)
        for part, step in zip(choice.parts(), steps, strict=True):
            self.add(part, step)

    def swap(self) -> None:
        """Order the parts of the gated units as they were chosen."""
        places = [k for k, part in enumerate(self.parts) if _gates(part)]
        for place, choice in zip(places, self.choices, strict=True):
            self.parts[place - 1 : place + 2] = choice.parts()

    @property
    def maps(self) -> list[Map]:
        """The linear maps."""
        return [part for part in self.parts if isinstance(part, Map)]

    @property
    def operations(self) -> list[Any]:
        """The other operations, as the package describes them."""
        return [part for part in self.parts if not isinstance(part, Map)]


@dataclass(eq=False)
class Choice:
    """A gated unit, and which of its two maps goes through the activation.

    Attributes
    ----------
    one, two : Map
        The maps.
    curve : Activation
        The activation, and
    act : callable
        what it does to rows.
    swapped : bool
        Whether the second map goes through it.
    """

    one: Map
    two: Map
    curve: Activation
    act: Step
    swapped: bool = False

    def both(self, rows: Any) -> Any:
        """Return the images of both maps."""
        return self.one.on(rows), self.two.on(rows)

    def product(self, pair: Any) -> Any:
        """Return the product."""
        first, second = reversed(pair) if self.swapped else pair
        return self.act(first) * second

    def parts(self) -> list[Any]:
        """Return the map through the activation, the gate, and the other map."""
        first, second = (self.two, self.one) if self.swapped else (self.one, self.two)
        size = mean_square(first.weight)
        gain = (mean_square(second.weight) / size) ** 0.5 if size else 1.0
        gate = Gate(self.curve.expression, number(gain))
        return [first, gate, replace(second, is_copy=True)]


@dataclass(frozen=True, eq=False)
class Repeated:
    """The map of values; fewer than the map behind reads are repeated, one by one or by heads.

    Attributes
    ----------
    values : Map
        The map, where heads are of the size `head`.
    inner : int
        Neurons that the map behind reads.
    packed : Map or None
        The map of which it is a part.
    head : int
        Size of a head.
    """

    values: Map
    inner: int
    packed: Map | None = None
    head: int = 1

    def __call__(self, rows: Any) -> Any:
        """Return the values of rows, each repeated as often as needed."""
        values = self.values.on(rows)
        times = self.inner // values.shape[-1]
        return values.unflatten(-1, (-1, self.head)).repeat_interleave(times, -2).flatten(-2)

    def options(self) -> Iterator[Repeated]:
        """Yield what it may be for other sizes of heads, and other orders of a packed map."""
        few = len(self.values.weight)
        sizes = [n for n in range(1, few + 1) if few % n == 0]
        yield from (replace(self, head=n) for n in (sizes if few < self.inner else [1]))
        if self.packed is not None and few == self.inner:
            # Queries, keys and values of every head may stand together.
            for n in sizes[:-1]:
                places = [k for k in range(3 * few) if k // n % 3 == 2]
                yield replace(self, values=self.packed.chosen(places, " (values)"), head=1)


def _gates(part: Any) -> bool:
    return getattr(part, "gates", None) is not None


def mean_square(weight: Any) -> float:
    """Return the variance of weights times their fan-in."""
    return float((weight.detach().double() ** 2).mean()) * int(weight.shape[1])


def gain_of(reading: Reading, path: str, weight: Any, bias: Any) -> float:
    """Return the gain of a normalisation; that it is not all of it is noted."""
    gain = 1.0 if weight is None else float((weight.detach().double() ** 2).mean()) ** 0.5
    spread = 0.0 if weight is None else float(weight.detach().double().std())
    shift = 0.0 if bias is None else float(bias.detach().double().abs().max())
    if spread > 1e-3 * gain or shift > 1e-3 * gain:
        reading.notes.append(
            f"{path}: gains of a spread of {spread:.2g} and biases up to {shift:.2g} are taken as "
            f"one gain of {gain:.3g} and no bias"
        )
    return gain


def number(value: float) -> float:
    """Return a number with as many digits as the measurement deserves."""
    return float(f"{value:.6g}")


def unknown(place: str, what: str) -> UnsupportedError:
    """Return the error of a branch that has no description."""
    return UnsupportedError(
        f"a description of {place}",
        f"it holds {what}, which no operation of this package is",
        "profile(model, batch) needs no description",
    )
