"""The text of a sampler for one column, Gaussian weights and the branch Activation -> Linear.

With one column the whole of a layer enters the next through one number: the images of the weights
are `sqrt(s |phi(h)|^2/N + t)` times fresh normals (`resexpand.montecarlo.loops.function_space`), so

    h^l = h^(l-1) + rho_l sqrt(s/N |phi(h^(l-1))|^2 + t) z_l,        h^0 = F z_0 .

Only `|h|^2` and `|phi(h)|^2` are read off, so the order of the neurons does not matter. The column
lies in memory in the order in which its normals are made, quarter by quarter within pieces
(`add_in_quarters`), which spares the vector units the sorting; each piece is finished, sums
included, while it is in the first-level cache. The networks are those of the text for several
columns, up to the order of the sums.
"""

from __future__ import annotations

from resexpand.codegen.source import module_source
from resexpand.montecarlo.groups.group import phi_call
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.target import with_bindings
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.network.operation import Map

HEADER = """\
# Residual networks drawn one after another, function-space sampler of one column, library {digest}.
# Branch: Activation {activation} -> Linear.
from resexpand.montecarlo.loops.columns import LANES, add_piece, padded
from resexpand.montecarlo.loops.function_space import PIECE
from resexpand.montecarlo.lanes import (
    at_once, buffer, clear, group, groups, is_leader, lane_entry, lane_share, memories,
    pair_over_lanes,
)
from resexpand.montecarlo.random.normals import BLOCK, add_in_quarters, fill_normals, fill_piece
from resexpand.montecarlo.random.streams import (
    FUNCTION_SPACE_FIRST, INPUT, READ_OUT_WEIGHTS, stream_word,
)

SCRATCH = {scratch}
"""

SCRATCH = {"cpu": "PIECE", "cuda": "LANES"}
"""Scratch of `add_in_quarters` for random words; on a GPU they stay in registers."""

LOOPS = '''
@reduction
def squares(h):
    """Return the sums of phi(h)^2 and of h^2 that this lane finds."""
    image, square = 0.0, 0.0
    for turn in range(lane_share(h.size)):
        i = lane_entry(turn)
        x = phi_0(h[i])
        image += x * x
        square += h[i] * h[i]
    return image, square


@chunk
def advance(h, normals, width, word, draw, key0, key1, factor):
    """Add factor times fresh normals to the column; return the sums of phi(h)^2 and h^2."""
    image, square = 0.0, 0.0
    whole = width // LANES * LANES
    size = max(LANES, at_once(whole, PIECE))
    for first in range(0, whole, size):
        piece = h[first : min(first + size, whole)]
        add_in_quarters(key0, key1, first // BLOCK, word, draw, piece, factor, normals)
        new_image, new_square = squares(piece)
        image += new_image
        square += new_square
    if whole < width:
        piece = h[whole:width]
        fill_piece(key0, key1, whole // BLOCK, np.uint64(0), word, draw, normals, LANES)
        add_piece(piece, factor, normals)
        new_image, new_square = squares(piece)
        image += new_image
        square += new_square
    return pair_over_lanes(image, square)
'''

DRIVER = '''
def buffers(matrix, added_to, width, scales, laws, twin_roots):
    """Return the shapes of the arrays that a network takes, in this order: column and normals."""
    return (padded(width),), (SCRATCH,)


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
    for n in range(group(), draws, groups()):
        draw = np.uint64(first + n)
        clear(h)
        word, factor = stream_word(np.int64(0), INPUT), matrix[0, 0]
        for layer in range(1, depth + 2):
            image, square = advance(h, normals, width, word, draw, key0, key1, factor)
            if states.size and is_leader():
                states[n, layer - 1, 0, 0] = square / width
            if read_outs.size and is_leader():
                read_outs[n, layer - 1, 0, 0] = image / width
            if features.size and layer <= blocks and is_leader():
                features[n, layer - 1, 0, 0] = image / width
            if layer <= depth:
                word = stream_word(layer, FUNCTION_SPACE_FIRST + 2)
                length = math.sqrt(laws[1, 0] / width * image + laws[1, 1])
                factor = scales[layer - 1] * length
        if outputs.size:
            word = stream_word(depth + 1, READ_OUT_WEIGHTS)
            fill_normals(key0, key1, np.uint64(0), word, draw, normals, np.int64(1))
            length = math.sqrt(read_out_law[0] / width * image + read_out_law[1])
            if is_leader():
                outputs[n, 0] = length * normals[0]
'''


def is_single(blocks: Blocks, method: str, layout: Layout, law: WeightLaw) -> bool:
    """Return whether this text draws the networks: one input, alone, one activation, Gaussian."""
    alone = layout.groups == (Inputs(1),)
    plain = blocks.one_kind and blocks.skips and not (blocks.has_own_head or blocks.post)
    shape = [(step.contracts, step.op.over) for step in blocks.shapes[0]]
    plain = plain and shape == [(False, "neurons"), (True, "neurons")]
    plain = plain and blocks.shapes[0][0].op.is_function
    return alone and plain and method == "function-space" and law == GAUSSIAN


def single_source(activation: Map, digest: str, target: str = "cpu") -> str:
    """Return the text of the module that draws networks of one column with this activation."""
    head = HEADER.format(digest=digest, activation=activation.expression, scratch=SCRATCH[target])
    phi = phi_call(0, activation, "h").functions
    texts = [*with_bindings([head], target), *phi, LOOPS, DRIVER]
    return module_source(texts, target)
