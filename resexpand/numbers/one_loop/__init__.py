"""Numbers for the order 1/N: `evaluate_one_loop` and `evaluate_finite_response`."""

from resexpand.numbers.one_loop.evaluation import evaluate_one_loop
from resexpand.numbers.one_loop.responses import evaluate_finite_response

__all__ = ["evaluate_finite_response", "evaluate_one_loop"]
