"""The text of a sampler for one column, Gaussian weights and branches with one `Linear`.

With one column the whole of a layer enters the next through one number: the images of the weights
are `sqrt(s |y|^2/N + t)` times fresh normals (`resexpand.montecarlo.loops.function_space`), y being
what the maps in front of the `Linear` make of the stream, so

    h^l = h^(l-1) + rho_l f_l sqrt(s/N |y(h^(l-1))|^2 + t) z_l,        h^0 = F z_0,

with the factor f_l of maps behind it, such as the coin of stochastic depth. Only `|h|^2` and
`|y|^2` are read off, so the order of the neurons does not matter. The column lies in memory in the
order in which its normals are made, quarter by quarter within pieces (`add_in_quarters`), which
spares the vector units the sorting, and so do its masks (`write_in_quarters`); each piece is
finished, sums included, while it is in the first-level cache. Where y needs averages over all
neurons, a second pass follows. The networks are those of the text for several columns, up to the
order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from resexpand.codegen.source import scalar_function
from resexpand.montecarlo.groups.group import phi_call
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.maps import MapCall, noise_of, noise_vector
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.division import SamplerText
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.network.operation import X
from resexpand.network.steps import Step, opening_of

HEADER = """\
# Residual networks drawn one after another, function-space sampler of one column, library {digest}.
from resexpand.montecarlo.loops.columns import LANES, add_piece, padded
from resexpand.montecarlo.loops.function_space import PIECE
from resexpand.montecarlo.lanes import (
    at_once, buffer, clear, group, groups, is_leader, lane_entry, lane_share, memories,
    over_lanes, pair_over_lanes,
)
from resexpand.montecarlo.random.noise import uniform_of, write_block, write_in_quarters
from resexpand.montecarlo.random.normals import BLOCK, add_in_quarters, fill_normals, fill_piece
from resexpand.montecarlo.random.streams import (
    FUNCTION_SPACE_FIRST, INPUT, READ_OUT_WEIGHTS, stream_word,
)

SCRATCH = {scratch}
"""

TITLE = "# Branch: {branch}."

SCRATCH = {"cpu": "PIECE", "cuda": "LANES"}
"""Scratch of `add_in_quarters` for random words; on a GPU they stay in registers."""

NOISE_LENGTH = {"cpu": "np.int64(PIECE)", "cuda": "padded(width)"}
"""Length of the rows of noise: that of the pieces (`at_once`)."""

SQUARES = '''
@reduction
def squares(h{given}):
    """Return the sums of y^2 and of h^2 that this lane finds."""
    image, square = 0.0, 0.0
    for turn in range(lane_share(h.size)):
        i = lane_entry(turn)
        x = h[i]
{maps}        image += x * x
        square += h[i] * h[i]
    return image, square
'''

MOMENTS = '''
@reduction
def moments(h):
    """Return the sums of h and of h^2 that this lane finds."""
    total, square = 0.0, 0.0
    for turn in range(lane_share(h.size)):
        i = lane_entry(turn)
        total += h[i]
        square += h[i] * h[i]
    return total, square
'''

ADVANCE = '''
@chunk
def advance(h, normals, width, word, draw, key0, key1, factor{more}):
    """Add factor times fresh normals to the column; return the sums of {sums}."""
    first_sum, square = 0.0, 0.0
    whole = width // LANES * LANES
    size = max(LANES, at_once(whole, PIECE))
    for first in range(0, whole, size):
        piece = h[first : min(first + size, whole)]
        add_in_quarters(key0, key1, first // BLOCK, word, draw, piece, factor, normals)
{drawn}        new_sum, new_square = {function}(piece{given})
        first_sum += new_sum
        square += new_square
    if whole < width:
        piece = h[whole:width]
        fill_piece(key0, key1, whole // BLOCK, np.uint64(0), word, draw, normals, LANES)
        add_piece(piece, factor, normals)
{last_drawn}        new_sum, new_square = {function}(piece{given})
        first_sum += new_sum
        square += new_square
    return pair_over_lanes(first_sum, square)
'''

SURVEY = '''
@chunk
def survey(h, width{more}):
    """Return the sum of y^2."""
    image = 0.0
    whole = width // LANES * LANES
    size = max(LANES, at_once(whole, PIECE))
    for first in range(0, whole, size):
        piece = h[first : min(first + size, whole)]
{drawn}        new_image, _ = squares(piece{given})
        image += new_image
    if whole < width:
        piece = h[whole:width]
{last_drawn}        new_image, _ = squares(piece{given})
        image += new_image
    return over_lanes(image)
'''

DRAWN = """\
        write_in_quarters(place, {vector}, 0, first, noise[{row}, : piece.size])
"""
LAST_DRAWN = """\
        write_block(place, {vector}, 0, whole, noise[{rows}, :LANES], noise[{row}, :LANES])
"""

DRIVER = '''
def buffers(matrix, added_to, width, scales, laws, twin_roots):
    """Return the shapes of the arrays that a network takes: column, normals, noise."""
    return (padded(width),), (SCRATCH,){noise_shape}


@driver
def draw_networks(
    first, draws, key0, key1, matrix, parents, at, added_to, width, scales, laws, read_out_law,
    twin_roots, memory, blocks, states, features, read_outs, outputs,
):
    """Draw networks first ... first + draws - 1 and write their records.

    matrix[0, 0] makes the column at layer 0. Results of size zero are not computed. blocks is L, or
    L+1 to read the branch once more. The other arguments matter where there are more columns.
    """
    depth = scales.size
    shared, remote = memories(memory)
    h, shared, remote = buffer(shared, remote, (padded(width),))
    # A literal is a type of its own, for which Numba would compile `buffer` again.
    normals, shared, remote = buffer(shared, remote, (np.int64(SCRATCH),))
{noise}{reads}    for n in range(group(), draws, groups()):
        draw = np.uint64(first + n)
        clear(h)
        word, factor = stream_word(np.int64(0), INPUT), matrix[0, 0]
        for layer in range(1, depth + 2):
{place}{coins}{layer}
            if states.size and is_leader():
                states[n, layer - 1, 0, 0] = square / width
            if read_outs.size and is_leader():
                read_outs[n, layer - 1, 0, 0] = image / width
            if features.size and layer <= blocks and is_leader():
                features[n, layer - 1, 0, 0] = image / width
            if layer <= depth:
                word = stream_word(layer, FUNCTION_SPACE_FIRST + {stream})
                length = math.sqrt(laws[{linear}, 0] / width * image + laws[{linear}, 1])
                factor = scales[layer - 1] * length{factors}
        if outputs.size:
            word = stream_word(depth + 1, READ_OUT_WEIGHTS)
            fill_normals(key0, key1, np.uint64(0), word, draw, normals, np.int64(1))
            length = math.sqrt(read_out_law[0] / width * image + read_out_law[1])
            if is_leader():
                outputs[n, 0] = length * normals[0]
'''


def is_single(blocks: Blocks, method: str, layout: Layout, law: WeightLaw) -> bool:
    """Return whether this text draws the networks.

    These are networks of one input, alone, with Gaussian weights and one kind of block: maps, of
    which the first alone may have averages, one `Linear`, and maps that multiply by a number.
    """
    if method != "function-space" or law != GAUSSIAN or layout.groups != (Inputs(1),):
        return False
    if not (blocks.one_kind and blocks.skips) or blocks.has_own_head or blocks.post:
        return False
    steps = blocks.shapes[0]
    if any(step.op.over != "neurons" for step in steps):
        return False
    opening = opening_of(steps)
    behind = steps[len(opening) + 1 :]
    if not opening or not all(_is_factor(step) for step in behind):
        return False
    return not any(step.op.averages for step in opening[1:])


def _is_factor(step: Step) -> bool:
    """Return whether an operation multiplies all neurons by one number."""
    if step.contracts or step.op.averages:
        return False
    one = all(noise.over == "block" for noise in step.op.noise)
    return one and not (step.op.expression / X).has(X)


def single_text(steps: tuple[Step, ...], digest: str, target: str = "cpu") -> SamplerText:
    """Return the text that draws networks of one column with this branch."""
    text = _Text(steps, target)
    names = ["Linear" if s.contracts else str(getattr(s.op, "expression", "")) for s in steps]
    head = HEADER.format(digest=digest, scratch=SCRATCH[target])
    title = TITLE.format(branch=" -> ".join(names))
    driver = "\n\n".join([*text.loops(), text.driver()])
    return SamplerText(title, (head,), (tuple(text.maps()),), driver)


@dataclass(frozen=True)
class _Text:
    """The parts of the text.

    Attributes
    ----------
    steps : tuple of Step
        The operations of the branch.
    target : str
        ``"cpu"`` or ``"cuda"``.
    """

    steps: tuple[Step, ...]
    target: str

    @cached_property
    def opening(self) -> tuple[Step, ...]:
        """The maps in front of the `Linear`."""
        return opening_of(self.steps)

    @cached_property
    def behind(self) -> tuple[Step, ...]:
        """The maps behind it."""
        return self.steps[len(self.opening) + 1 :]

    @cached_property
    def calls(self) -> tuple[MapCall, ...]:
        """The calls of the maps."""
        return tuple(phi_call(s.position, s.op, "h", f"{s.position}_") for s in self.opening)

    @property
    def averaged(self) -> bool:
        """Whether a first pass takes averages."""
        return bool(self.opening[0].op.averages)

    @cached_property
    def masks(self) -> tuple[tuple[str, int], ...]:
        """Name and index of every noise of the neurons, in the order of their rows."""
        return tuple((name, vector) for name, vector, one in self._noise(self.opening) if not one)

    @staticmethod
    def _noise(steps: tuple[Step, ...]) -> Iterator[tuple[str, int, bool]]:
        for step in steps:
            for k, each in enumerate(step.op.noise):
                j = step.position
                yield f"u{j}_{k}", noise_vector(j, k), each.over == "block"

    @cached_property
    def fixed(self) -> tuple[str, ...]:
        """Names of what the maps take that is the same at all neurons."""
        coins = (name for name, _, one in self._noise(self.opening) if one)
        arguments = (name for call in self.calls for name in call.arguments)
        return tuple(dict.fromkeys((*arguments, *coins)))

    def maps(self) -> list[str]:
        """Return the functions that depend on what the maps are."""
        rows = [name for name, _ in self.masks]
        given = "".join(f", {name}" for name in (*rows, *self.fixed))
        squares = SQUARES.format(given=given, maps="".join(map(self._map, self.opening)))
        functions = (text for call in self.calls for text in call.functions)
        return [*functions, squares, *map(self._factor, self.behind)]

    def loops(self) -> list[str]:
        """Return the loops over the pieces of the column."""
        passed = "".join(f", noise[{k}]" for k in range(len(self.masks)))
        passed += "".join(f", {name}" for name in self.fixed)
        lines = {"drawn": self._drawn(DRAWN), "last_drawn": self._drawn(LAST_DRAWN)}
        if not self.averaged:
            sums = {"sums": "y^2 and h^2", "function": "squares"}
            return [ADVANCE.format(more=self._more, given=passed, **sums, **lines)]
        sums = {"sums": "h and h^2", "function": "moments"}
        nothing = {"more": "", "given": "", "drawn": "", "last_drawn": ""}
        survey = SURVEY.format(more=self._more, given=passed, **lines)
        return [MOMENTS, ADVANCE.format(**nothing, **sums), survey]

    @property
    def _more(self) -> str:
        """Arguments of the loops for the maps."""
        noise = ("place", "noise") if self.masks else ()
        return "".join(f", {name}" for name in (*noise, *self.fixed))

    def _drawn(self, line: str) -> str:
        rows = len(self.masks)
        lines = enumerate(self.masks)
        return "".join(line.format(vector=v, row=k, rows=rows) for k, (_, v) in lines)

    def _map(self, step: Step) -> str:
        """Return the line that takes x through a map."""
        j, call = step.position, self.calls[step.position - self.opening[0].position]
        entries = (f"{n}{'' if one else '[i]'}" for n, _, one in self._noise((step,)))
        given = ", ".join(("x", *entries, *call.arguments))
        return f"        x = phi_{j}({given})\n"

    @staticmethod
    def _factor(step: Step) -> str:
        """Return the function of the number by which a map behind the `Linear` multiplies."""
        uniforms, noise = noise_of(step.op)
        symbols = [*uniforms, *(p.symbol for p in step.op.parameters)]
        value = sp.cancel(step.op.expression / X)
        return scalar_function(f"factor_{step.position}", symbols, [value], definitions=noise)

    def driver(self) -> str:
        """Return the text of `draw_networks`."""
        linear = self.steps[len(self.opening)].position
        rows = len(self.masks)
        shape = f"(np.int64({rows + 1}), {NOISE_LENGTH[self.target]})"
        reads = "".join(
            f"    p{s.position}_{k} = laws[{s.position}, {k}]\n"
            for s in (*self.opening, *self.behind)
            for k in range(len(s.op.parameters))
        )
        every = (*self._noise(self.opening), *self._noise(self.behind))
        coins = "".join(
            f"            {name} = uniform_of(place, {vector}, 0)\n"
            for name, vector, one in every
            if one
        )
        noise = f"    noise, shared, remote = buffer(shared, remote, {shape})\n"
        place = f"{'':12}place = (key0, key1, np.int64(layer), draw)\n"
        return DRIVER.format(
            noise_shape=f", {shape}" if rows else "",
            noise=noise if rows else "",
            reads=reads,
            place=place if every else "",
            coins=coins,
            layer=self._layer(),
            stream=2 * linear,
            linear=linear,
            factors="".join(f" * {self._factor_call(step)}" for step in self.behind),
        )

    def _layer(self) -> str:
        """Return the lines that make the stream of a layer and the sums over it."""
        given = "h, normals, width, word, draw, key0, key1, factor"
        once = "".join(call.averages for call in self.calls[1 if self.averaged else 0 :])
        if not self.averaged:
            first = f"image, square = advance({given}{self._more})"
            return _indented(once, 4) + f"{'':12}{first}"
        # The sums of the pass that adds the normals serve for the averages of h and of h^2.
        sums, lines = {X: "total / width", X**2: "square / width"}, []
        tag, own = f"s{self.opening[0].position}_", self.calls[0].averages.splitlines(True)
        for k, (_, term) in enumerate(self.opening[0].op.averages):
            known = sums.get(term)
            lines.append(own[k] if known is None else f"        {tag}{k} = {known}\n")
        lines += own[len(self.opening[0].op.averages) :]
        return (
            f"{'':12}total, square = advance({given})\n"
            + _indented("".join(lines) + once, 4)
            + f"{'':12}image = survey(h, width{self._more})"
        )

    def _factor_call(self, step: Step) -> str:
        j = step.position
        names = [name for name, _, _ in self._noise((step,))]
        names += [f"p{j}_{k}" for k in range(len(step.op.parameters))]
        return f"factor_{j}({', '.join(names)})"


def _indented(lines: str, by: int) -> str:
    return "".join(f"{'':{by}}{line}" for line in lines.splitlines(True))
