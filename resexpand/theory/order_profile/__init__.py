"""Order profiles: how much each order of the residual expansion contributes, at infinite width."""
