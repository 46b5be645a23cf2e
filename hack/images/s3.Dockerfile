# The S3 gateway of clusters without an object store: one static program. The context is the folder of the program, as
# `python3 hack/cluster tool versitygw` builds it.
FROM scratch
COPY versitygw /versitygw
USER 1000:1000
ENTRYPOINT ["/versitygw"]
