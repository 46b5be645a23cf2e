"""The object store of the artifacts: S3 and what speaks like it, Google Cloud Storage, Azure. A thin layer over
obstore.

`settings` says where it is, `objects` reads and writes, `errors` says what went wrong. Names of the objects:
`core.layout`.
"""
