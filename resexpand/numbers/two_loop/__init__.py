"""The order 1/N^2 of means in numbers."""

from resexpand.numbers.two_loop.evaluation import evaluate_two_loop

__all__ = ["evaluate_two_loop"]
