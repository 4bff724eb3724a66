"""Description of a residual network: operations, residual branch, network, inputs."""
