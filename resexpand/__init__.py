"""resexpand: derive, compile, sample and judge the theory of deep residual networks.

Names are loaded when they are first used, so that ``import resexpand`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resexpand.agreement.comparison import compare
    from resexpand.codegen.routine import compile_routine
    from resexpand.export.describe import describe
    from resexpand.export.latex.to_latex import to_latex
    from resexpand.export.report import report
    from resexpand.export.result_files import load
    from resexpand.expressions import parse_expression
    from resexpand.measure.layer_weights import measure_layers
    from resexpand.measure.orders import measure_orders
    from resexpand.measure.paths import measure_paths
    from resexpand.models.coordinates import coordinate_check
    from resexpand.models.description import from_torch
    from resexpand.models.profiling import profile
    from resexpand.models.scales import remove_scales, set_scales
    from resexpand.montecarlo.depth_ensemble import sample_depth_limit
    from resexpand.montecarlo.depth_paths import depth_paths
    from resexpand.montecarlo.observables.observable import Observable
    from resexpand.montecarlo.sample import sample
    from resexpand.montecarlo.weights.quantile import quantile_law
    from resexpand.network.activation import Activation
    from resexpand.network.attention import Attention
    from resexpand.network.batch_norm import BatchNorm
    from resexpand.network.conv import Conv
    from resexpand.network.dropout import Dropout, SharedDropout
    from resexpand.network.gate import Gate
    from resexpand.network.global_avg_pool import GlobalAvgPool
    from resexpand.network.layer_norm import LayerNorm
    from resexpand.network.layer_registry import LayerMatrix
    from resexpand.network.layers import FractionalBrownian, Markov, Smooth
    from resexpand.network.linear import Linear
    from resexpand.network.ready_made import mlp, post_ln, pre_ln
    from resexpand.network.resnet import Branch, ResNet
    from resexpand.network.rms_norm import RMSNorm
    from resexpand.network.scale import Scale
    from resexpand.network.stochastic_depth import DropPath, StochasticDepth
    from resexpand.numbers.class_codes import class_codes
    from resexpand.numbers.compare_depths import compare_depths
    from resexpand.numbers.dropout_positions import rank_positions
    from resexpand.numbers.evaluation import evaluate
    from resexpand.numbers.mask_correlation import mask_correlation
    from resexpand.numbers.noise_average import noise_average
    from resexpand.numbers.pooled_dropout import pooled_dropout
    from resexpand.numbers.predict import predict
    from resexpand.numbers.scales import compare_scales
    from resexpand.numbers.variance_shift import variance_shift
    from resexpand.references import cite
    from resexpand.theory.depth_limit import depth_limit
    from resexpand.theory.depth_thresholds import depth_thresholds
    from resexpand.theory.exact_moments import exact_moments
    from resexpand.theory.expansion import residual_expansion
    from resexpand.theory.finite_response import finite_response
    from resexpand.theory.gated_paths import gated_path_sum
    from resexpand.theory.gradients import gradient_moments
    from resexpand.theory.growth import growth, implied_scale
    from resexpand.theory.kernel import kernel
    from resexpand.theory.masks import weight_scaling
    from resexpand.theory.one_loop import one_loop
    from resexpand.theory.optimal_scale import optimal_scale
    from resexpand.theory.order_profile import order_profile
    from resexpand.theory.remainder import Majorant, majorant_of, remainder_bound
    from resexpand.theory.response import response
    from resexpand.theory.tangent_kernel import tangent_kernel
    from resexpand.theory.two_loop import two_loop
    from resexpand.workflows.derive import derive
    from resexpand.workflows.doctor.examine import doctor
    from resexpand.workflows.sweep import sweep

__version__ = "0.1.0"

_HOMES = {
    "Activation": "resexpand.network.activation",
    "Attention": "resexpand.network.attention",
    "BatchNorm": "resexpand.network.batch_norm",
    "Branch": "resexpand.network.resnet",
    "Conv": "resexpand.network.conv",
    "FractionalBrownian": "resexpand.network.layers",
    "LayerMatrix": "resexpand.network.layer_registry",
    "Gate": "resexpand.network.gate",
    "GlobalAvgPool": "resexpand.network.global_avg_pool",
    "LayerNorm": "resexpand.network.layer_norm",
    "DropPath": "resexpand.network.stochastic_depth",
    "Dropout": "resexpand.network.dropout",
    "Linear": "resexpand.network.linear",
    "Majorant": "resexpand.theory.remainder",
    "Markov": "resexpand.network.layers",
    "Observable": "resexpand.montecarlo.observables.observable",
    "RMSNorm": "resexpand.network.rms_norm",
    "ResNet": "resexpand.network.resnet",
    "Scale": "resexpand.network.scale",
    "SharedDropout": "resexpand.network.dropout",
    "Smooth": "resexpand.network.layers",
    "StochasticDepth": "resexpand.network.stochastic_depth",
    "cite": "resexpand.references",
    "class_codes": "resexpand.numbers.class_codes",
    "noise_average": "resexpand.numbers.noise_average",
    "compare": "resexpand.agreement.comparison",
    "compare_depths": "resexpand.numbers.compare_depths",
    "compare_scales": "resexpand.numbers.scales",
    "compile_routine": "resexpand.codegen.routine",
    "coordinate_check": "resexpand.models.coordinates",
    "depth_limit": "resexpand.theory.depth_limit",
    "depth_paths": "resexpand.montecarlo.depth_paths",
    "depth_thresholds": "resexpand.theory.depth_thresholds",
    "derive": "resexpand.workflows.derive",
    "describe": "resexpand.export.describe",
    "doctor": "resexpand.workflows.doctor.examine",
    "evaluate": "resexpand.numbers.evaluation",
    "exact_moments": "resexpand.theory.exact_moments",
    "finite_response": "resexpand.theory.finite_response",
    "from_torch": "resexpand.models.description",
    "gated_path_sum": "resexpand.theory.gated_paths",
    "gradient_moments": "resexpand.theory.gradients",
    "growth": "resexpand.theory.growth",
    "implied_scale": "resexpand.theory.growth",
    "kernel": "resexpand.theory.kernel",
    "load": "resexpand.export.result_files",
    "majorant_of": "resexpand.theory.remainder",
    "mask_correlation": "resexpand.numbers.mask_correlation",
    "measure_layers": "resexpand.measure.layer_weights",
    "measure_orders": "resexpand.measure.orders",
    "measure_paths": "resexpand.measure.paths",
    "mlp": "resexpand.network.ready_made",
    "one_loop": "resexpand.theory.one_loop",
    "optimal_scale": "resexpand.theory.optimal_scale",
    "order_profile": "resexpand.theory.order_profile",
    "parse_expression": "resexpand.expressions",
    "post_ln": "resexpand.network.ready_made",
    "pre_ln": "resexpand.network.ready_made",
    "predict": "resexpand.numbers.predict",
    "profile": "resexpand.models.profiling",
    "quantile_law": "resexpand.montecarlo.weights.quantile",
    "rank_positions": "resexpand.numbers.dropout_positions",
    "pooled_dropout": "resexpand.numbers.pooled_dropout",
    "remove_scales": "resexpand.models.scales",
    "remainder_bound": "resexpand.theory.remainder",
    "report": "resexpand.export.report",
    "residual_expansion": "resexpand.theory.expansion",
    "response": "resexpand.theory.response",
    "sample": "resexpand.montecarlo.sample",
    "sample_depth_limit": "resexpand.montecarlo.depth_ensemble",
    "set_scales": "resexpand.models.scales",
    "sweep": "resexpand.workflows.sweep",
    "tangent_kernel": "resexpand.theory.tangent_kernel",
    "to_latex": "resexpand.export.latex.to_latex",
    "two_loop": "resexpand.theory.two_loop",
    "variance_shift": "resexpand.numbers.variance_shift",
    "weight_scaling": "resexpand.theory.masks",
}

__all__ = [
    "Activation",
    "Attention",
    "BatchNorm",
    "Branch",
    "Conv",
    "DropPath",
    "Dropout",
    "FractionalBrownian",
    "Gate",
    "GlobalAvgPool",
    "LayerMatrix",
    "LayerNorm",
    "Linear",
    "Majorant",
    "Markov",
    "Observable",
    "RMSNorm",
    "ResNet",
    "Scale",
    "SharedDropout",
    "Smooth",
    "StochasticDepth",
    "__version__",
    "cite",
    "class_codes",
    "compare",
    "compare_depths",
    "compare_scales",
    "compile_routine",
    "coordinate_check",
    "depth_limit",
    "depth_paths",
    "depth_thresholds",
    "derive",
    "describe",
    "doctor",
    "evaluate",
    "exact_moments",
    "finite_response",
    "from_torch",
    "gated_path_sum",
    "gradient_moments",
    "growth",
    "implied_scale",
    "kernel",
    "load",
    "majorant_of",
    "mask_correlation",
    "measure_layers",
    "measure_orders",
    "measure_paths",
    "mlp",
    "noise_average",
    "one_loop",
    "optimal_scale",
    "order_profile",
    "parse_expression",
    "pooled_dropout",
    "post_ln",
    "pre_ln",
    "predict",
    "profile",
    "quantile_law",
    "rank_positions",
    "remainder_bound",
    "remove_scales",
    "report",
    "residual_expansion",
    "response",
    "sample",
    "sample_depth_limit",
    "set_scales",
    "sweep",
    "tangent_kernel",
    "to_latex",
    "two_loop",
    "variance_shift",
    "weight_scaling",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
