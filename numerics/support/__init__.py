"""What several scripts of this folder share: claims with controls, and theory at finite width."""
