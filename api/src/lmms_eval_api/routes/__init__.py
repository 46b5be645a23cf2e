"""The routes, a file for each subject; what they need is given to them by `dependencies`."""
