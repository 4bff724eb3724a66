"""The text that draws one network at several depths from one Brownian path of its weights.

With residual scale ``c / sqrt(L)`` the weights of a block are increments of a matrix Brownian
motion over the share 1/L of the depth. On a grid of n steps, a network of depth L keeps the
features of its stream for n/L steps and adds, step by step, the image of the same n/L increments:
its own block. So networks of different depths are columns of one, which differ in how long they
keep their features, and one call of the function-space sampler draws the images of all of them.
"""

from __future__ import annotations

from resexpand.codegen.source import module_source
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.imports import imports_of
from resexpand.montecarlo.source.sampler import through_maps
from resexpand.montecarlo.source.target import with_bindings
from resexpand.network.resnet import Branch

HEADER = """\
# Networks of several depths from one path of their weights, library {digest}.
from resexpand.montecarlo.loops.columns import add_scaled, dot, start, subtract, write_multiple
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.loops.function_space import linear
{imports}"""

DRIVER = '''
@driver
def draw_paths(
    first, draws, key0, key1, matrix, width, steps, scale, every, added_to, laws,
    stream, h, x, y, scratch, kernels, distances,
):
    """Draw networks first ... first + draws - 1; column c keeps its features for every[c] steps.

    kernels (draws, C): |h_c|^2 / N at the end; distances (draws, C): |h_c - h_0|^2 / N.
    """
    inputs, length = every.size, stream.shape[1]
    for n in range(draws):
        draw = np.uint64(first + n)
        start(stream, matrix, (key0, key1, 0, draw), scratch[0, :length])
        for layer in range(1, steps + 1):
            for c in range(inputs):
                if (layer - 1) % every[c] == 0:
                    write_multiple(h[c], 1.0, stream[c], length)
{maps}            place = (key0, key1, layer, draw)
            law = (laws[{j}, 0], laws[{j}, 1])
            linear({source}, {target}, (inputs - 1,), width, law, place, np.int64({j}), scratch)
            add_scaled(stream, scale, {target}, added_to)
        for c in range(inputs):
            kernels[n, c] = dot(stream[c], stream[c], width) / width
            write_multiple(h[c], 1.0, stream[c], length)
            subtract(h[c], 1.0, stream[0], width)
            distances[n, c] = dot(h[c], h[c], width) / width
'''


def path_source(branch: Branch, count: int) -> str:
    """Return the text of the module.

    Parameters
    ----------
    branch : Branch
        Maps in front of one `Linear`.
    count : int
        Number of columns.
    """
    blocks, layout = Blocks.of((branch,)), Layout.of(count, [])
    group, last = layout.groups[0], branch.steps[-1]
    found = [group.functions(s.position, s.op) for s in branch.steps if not s.contracts]
    lines, source = through_maps(layout, branch.steps[:-1])
    target = "y" if source == "x" else "x"
    imports = [line for line in imports_of(blocks) if "write_multiple" not in line]
    header = HEADER.format(digest=library_digest(), imports="\n".join(imports))
    driver = DRIVER.format(maps=lines, j=last.position, source=source, target=target)
    functions = [text for texts in found for text in texts]
    return module_source([*with_bindings((header,), "cpu"), *functions, driver])
