"""Figures of results, each in the house style, with the verdict where there is one."""
