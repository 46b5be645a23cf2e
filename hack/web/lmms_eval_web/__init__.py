"""Builds and checks the web page with Node. Standard library only: building an image needs no environment of ours."""
