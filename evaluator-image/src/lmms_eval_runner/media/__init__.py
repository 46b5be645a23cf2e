"""Keeps what the adapter got of each document beside its prompt: images, and posters of videos, and sounds.

`tags` marks documents, `attach` hands what tasks make of them to `capture`, which takes copies on the adapter's thread;
`encoder` makes files of them on a thread of its own, and `folder` writes those. Nothing here changes what the adapter
gets, waits for anything, or ends a run.
"""
