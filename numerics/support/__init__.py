"""Shared parts of the scripts of this folder: claims with controls, and theory at finite width."""
