"""Numbers for the order 1/N: `evaluate_one_loop`."""

from resexpand.numbers.one_loop.evaluation import evaluate_one_loop

__all__ = ["evaluate_one_loop"]
