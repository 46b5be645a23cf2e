"""What `make bench` measures, on the cluster of hack/cluster, with this checkout's chart installed in a namespace of
its own.
"""
