"""Counter-based random numbers: Philox words, standard normals, positions in the counter space."""
