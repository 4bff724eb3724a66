r"""Gradients: `p_a^l = dy_a/dh_a^l` of one output, propagated back through every network.

On the way forward each network keeps the columns in front of every operation: memory of
`depth * operations * (columns + 1) * width` numbers per thread, where a network without gradients
needs three times `columns * width`. On the way back

    p^L = (dx/dh^L)^T w sqrt(s/N),      x = phi(h^L) or h^L, w: the weights of the read-out
    p^{l-1} = p^l + rho_l (the branch of block l, transposed) p^l

an activation multiplies by phi'(u) at its argument u, a `Linear` by the transpose of the weights
of the forward pass (`function_space_transpose`, `dense_transpose`; of rotations,
`weights.haar_columns_transpose`, `weights.haar_householder_transpose`). Under averages over
a batch `p_a^l` is the derivative of the sum of the outputs of the batch. The records are

    gradients    p_a^l . p_b^l                                                       l = 0 ... L
    ntk_layers   sum over the linear operations of block l+1 of C_ab (g_a . g_b),    l = 0 ... L-1
                 g the gradient at its image, C_ab = s x_a . x_b / N + t; the read-out's, l = L
    pairings     sum_a p_a^l . v_a^l with the tangents along a random direction; constant by the
                 chain rule
    overlaps     p_a^l . p_b^L
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.groups.group import (
    ColumnGroup,
    refuse_batches,
    refuse_jumps,
    slope_call,
    without_deltas_in,
)
from resexpand.montecarlo.groups.maps import MapCall, batch_loop, map_call
from resexpand.montecarlo.source.attention import backward_call, backward_text, keeping
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.wide import sheet, wide_name
from resexpand.montecarlo.weights.law import PRODUCTS
from resexpand.network.differentials import AveragedMap, gradient
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch
from resexpand.network.steps import Step

LOOP = '''
@chunk
def gradients_{j}(kept, columns{phi.parameters}):
    """Multiply gradients by phi'(u)."""
{phi.reads}    for a in range(columns.shape[0]):
        u, g = kept[a], columns[a]
{drawn}{phi.averages}        for turn in range(lane_share(g.size)):
            i = lane_entry(turn)
            {phi.value}
    barrier()
'''

IMPORTS = """\
from resexpand.montecarlo.loops.backward import (
    add_gradients, add_tangent_kernel, direction_of, keep, scaled, write_covariance,
    write_pairing, write_products,
)
from resexpand.montecarlo.{module}_transpose import {names}"""

TRANSPOSE = "read_out_transposed, transpose_workspace, transposed"
NAMES = {
    "loops.function_space": TRANSPOSE,
    "loops.dense": "dense_transpose, transpose_workspace",
    "loops.correlated": "dense_transpose, transpose_workspace",
    "loops.correlated_basis": TRANSPOSE,
    "weights.haar_columns": TRANSPOSE,
    "weights.haar_householder": TRANSPOSE,
}
"""Imports from the transpose of each sampler that has one."""

DOT = "from resexpand.montecarlo.loops.columns import dot"

FACTORY = """\
from resexpand.montecarlo.loops.products import left_products_by_{products} as left_products
transposed, read_out_transposed = dense_transpose(entries, left_products)"""

BUFFERS = {
    "p": "(inputs, length)",
    "g": "(inputs, length)",
    "back": "transpose_workspace(weighted, inputs, length)",
    "met": "(depth + 1, laws.shape[0], inputs, length)",
    "acted_on": "(depth + 1, laws.shape[0], weighted, length)",
}
TANGENT_BUFFERS = {"tangents": "(depth + 1, inputs, length)"}

EPILOGUE = """\
        place = (key0, key1, depth + 1, draw)
        law = (read_out_law[0], read_out_law[1])
        read_out_transposed({behind}, (inputs, width), law, place, back, p)
        if ntk_layers.size:
            write_covariance({behind}, width, law, ntk_layers[n, depth])
{opening}        write_products(p, width, gradients[n, depth])
{last_overlap}{last_pairing}        for layer in range(depth, 0, -1):
            place = (key0, key1, layer, draw)
            p, g, back = opaque(p), opaque(g), opaque(back)
            met, acted_on = opaque(met), opaque(acted_on)
{post}            scaled(p, scales[layer - 1], g)
{block}
{skip}            add_gradients(g, p)
            write_products(p, width, gradients[n, layer - 1])
{overlap}{pairing}"""

LINEAR = """\
            law, source = (laws[{j}, 0], laws[{j}, 1]), acted_on[layer - 1, {k}]
            if ntk_layers.size:
                add_tangent_kernel(source, g, width, law, ntk_layers[n, layer - 1])
            transposed(source, g, biased, width, law, place, np.int64({j}), back)"""

CONV = """\
            law = (laws[{j}, 0], laws[{j}, 1])
            gather(acted_on[layer - 1, {k}], {wide}, {sheet}, width)
            transposed({wide}, g, biased, width, law, place, np.int64({j}), back)
            scatter({wide}, g, {sheet}, width)"""

SKIP = """\
            for a in range(inputs):
                write_multiple(p[a], laws[laws.shape[0] - 1, 0], p[a], length)
"""

LAST_OVERLAP = """\
        keep(p, top)
        write_overlaps(p, top, width, overlaps[n, depth])
"""

OVERLAP = """\
            write_overlaps(p, top, width, overlaps[n, layer - 1])
"""

WRITE_OVERLAPS = '''
@chunk
def write_overlaps(gradients, top, width, out):
    """Write `p_a . p_b^L` of the gradients with those at the last layer."""
    for a in range(out.shape[0]):
        for b in range(out.shape[0]):
            value = dot(gradients[a], top[b], width)
            if is_leader():
                out[a, b] = value
'''

PAIRING = """\
{space}if pairings.size:
{space}    write_pairing(p, tangents[{layer}], width, pairings[n, {layer}])
"""


@dataclass(frozen=True)
class Gradients(ColumnGroup):
    """Gradients of one output with respect to the states of the inputs.

    `paired`: also multiply them with the tangent along a random direction. `overlapped`: also with
    the gradients at the last layer.
    """

    name: ClassVar[str] = "gradients"
    rank: ClassVar[int] = 7
    follows_positions: ClassVar[bool] = True

    paired: bool = False
    count: int = 0
    overlapped: bool = False

    @property
    def keeps_units(self) -> bool:
        """Whether the stream must stay in the units of layer 0: it must."""
        return True

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Records by layer."""
        square = (self.count, self.count)
        pairings = {"pairings": (1,)} if self.paired else {}
        overlaps = {"overlaps": square} if self.overlapped else {}
        return {"gradients": square, "ntk_layers": square, **pairings, **overlaps}

    def at(self, inputs: int) -> Self:
        """Return the group for D inputs."""
        return replace(self, count=inputs)

    def joined(self, other: Self) -> Self:
        """Return the group that serves both."""
        overlapped = self.overlapped or other.overlapped
        return replace(self, paired=self.paired or other.paired, overlapped=overlapped)

    def functions(self, j: int, op: Map) -> list[str]:
        """Return phi' and its loop."""
        overlaps = [WRITE_OVERLAPS] if self.overlapped else []
        if op.attends:
            return [backward_text(j, op), *overlaps]
        # A map over a batch or over positions couples columns: all go back together.
        if op.over != "neurons":
            count, name = "columns.shape[0]", f"phi_{j}_back"
            given = (f"gradients_{j}", "kept, columns", count, name, _gradient(op), op)
            return [*batch_loop(*given, "columns[c, i]", "kept[c, i]", "columns[c, i]"), *overlaps]
        phi = _turned_back(j, op)
        return [*phi.functions, LOOP.format(j=j, phi=phi, drawn=phi.drawn("a")), *overlaps]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the line that keeps the argument of the activation."""
        if op.attends:
            return keeping(j, op, source)
        return f"keep({source}, met[layer - 1, {j}])"

    def before_linear(self, site: str, k: int, source: str) -> str:
        """Return the line that keeps the argument of the operation."""
        return f"keep({source}, acted_on[layer - 1, {k}])" if site == "gradients" else ""

    def reading(self, site: str) -> str:
        """Return the line that keeps the tangent."""
        kept = "keep(stream[direction : direction + inputs], tangents[layer - 1])"
        return kept if site == "pairings" else ""

    def sampler(self, module: str, target: str = "cpu") -> str:
        """Return the import lines, and the line that makes the transpose of the dense sampler.

        Raises
        ------
        UnsupportedError
            If the sampler has no transpose.
        """
        # The transpose must redraw, or condition on, the very weights of the forward pass.
        if module not in NAMES:
            raise UnsupportedError(
                "gradients of networks with weights of this law",
                "their transpose is not implemented",
                'use weights="gaussian", or another registered law',
            )
        names = NAMES[module]
        text = IMPORTS.format(module=module, names=names)
        factory = FACTORY.format(products=PRODUCTS[target])
        text += f"\n{DOT}" if self.overlapped else ""
        return f"{text}\n{factory}" if names.startswith("dense") else text

    @property
    def buffers(self) -> Mapping[str, str]:
        """Where gradients and columns are kept."""
        tops = {"top": "(inputs, length)"} if self.overlapped else {}
        return {**BUFFERS, **(TANGENT_BUFFERS if self.paired else {}), **tops}

    def prologue(self) -> str:
        """Return the line that looks for the tangent."""
        return "    direction = direction_of(matrix)\n" if self.paired else ""

    def epilogue(self, blocks: Blocks, behind: str) -> str:
        """Return the lines behind the read-out: the way back."""
        # The way back passes the same operations in reverse order.
        block = blocks.chosen(["\n".join(map(_line, reversed(steps))) for steps in blocks.shapes])
        post = blocks.chosen(
            [f"{'':12}{_back_line(step, 'layer - 1', 'p')}" for step in blocks.post] or [""]
        )
        opening = [_back_line(step, "depth", "p") for step in reversed(blocks.head)]
        pairing = [("        ", "depth"), ("            ", "layer - 1")] if self.paired else []
        last, inner = [PAIRING.format(space=s, layer=at) for s, at in pairing] or ["", ""]
        return EPILOGUE.format(
            behind=behind,
            opening="".join(f"{'':8}{line}\n" for line in opening),
            post=blocks.selection() + (f"{post}\n" if post else ""),
            block=block,
            skip="" if blocks.skips else SKIP,
            overlap=OVERLAP if self.overlapped else "",
            last_overlap=LAST_OVERLAP if self.overlapped else "",
            last_pairing=last,
            pairing=inner,
        )

    def require(self, branch: Branch, names: str) -> None:
        """Refuse activations that jump, and tangent kernels of a batch that is coupled."""
        refuse_jumps(branch, names, "gradient")
        if "ntk" in names:
            why = "every output depends on all inputs of the batch, and their sum alone is followed"
            refuse_batches(branch, names, why)


def _turned_back(j: int, op: Map) -> MapCall:
    """Return the call of the transposed map; `value` is the whole statement."""
    # A function of one neuron has a diagonal Jacobian: its transpose multiplies by the slope.
    if op.is_function:
        slope = slope_call(j, op, "u")
        return replace(slope, value=f"g[i] *= {slope.value}")
    back = map_call(f"phi_{j}_back", j, op, _gradient(op), "u", "g")
    return replace(back, value=f"g[i] = {back.value}")


def _gradient(op: Map) -> AveragedMap:
    return without_deltas_in(gradient(op))


def _line(step: Step) -> str:
    """Return the lines that take the gradients of a block back through a step."""
    if step.contracts and step.op.over == "positions":
        given = {"j": step.position, "k": step.number - 1, "wide": wide_name(step.op)}
        return CONV.format(sheet=sheet(step), **given)
    if step.contracts:
        return LINEAR.format(j=step.position, k=step.number - 1)
    return f"{'':12}{_back_line(step, 'layer - 1', 'g')}"


def _back_line(step: Step, layer: str, columns: str) -> str:
    """Return the line that takes gradients back through a map."""
    j = step.position
    if step.op.attends:
        return backward_call(j, step.op, layer, columns)
    return f"gradients_{j}(met[{layer}, {j}], {columns}{_turned_back(j, step.op).given})"
