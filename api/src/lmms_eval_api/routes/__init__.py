"""The routes, one module for each subject; what they need is injected from `dependencies`."""
