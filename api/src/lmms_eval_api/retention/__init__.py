"""Deletes the files of evaluations that are gone: `orphans` decides which are due, `sweeper` deletes them."""
