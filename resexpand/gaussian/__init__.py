"""Gaussian averages: formal nodes with Price's theorem, and their numerical evaluation."""
