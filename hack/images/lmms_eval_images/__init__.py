"""Builds the project's images with docker, or with buildah on a machine without it. Standard library only."""
