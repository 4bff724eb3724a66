"""The CUDA target: what is there, how functions are compiled for it, how routines run on it."""
