"""Statistics of ensembles: moments that merge, estimates with errors, laws, control variates."""
