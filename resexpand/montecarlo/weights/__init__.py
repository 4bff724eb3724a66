"""Laws of weights beyond the Gaussian one: what they are, and how their entries are made."""
