"""The web page: its files, and the pages that are there without them. `routes.web` is the HTTP side."""
