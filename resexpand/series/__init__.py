"""Power series: truncated in several variables, and jets of activations along one."""
