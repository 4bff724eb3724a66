"""Complete investigations: from a description to a verdict and a folder of results."""
