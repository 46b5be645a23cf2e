"""The index of a task's samples, `index/<task>.idx`: what a page shows of each, found by a few ranged reads.

`format` has the layout, `writer` makes it of the lines of a samples file, `reader` reads parts of it. Pure.
"""
