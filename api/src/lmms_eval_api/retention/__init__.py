"""Deletes the files of evaluations that are gone, and media that nobody shows.

`orphans` decides which are due, `sweeper` deletes them; of media, `pool_survey` decides and `media_pool` deletes.
"""
