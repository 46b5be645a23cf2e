"""What attempts have left behind: results, samples and logs, from the object store and from the pod while it exists.

Pure: `stored_files` (which files a job has), `frames` (compressed bytes to lines), `sample_filter` (wrong, empty),
`normaliser`, `sample_page`. `store` reads the object store; `results` and `samples` build on it. `logs` reads the pod,
then the store. `worker` parses in a process of its own. `archive` puts them together; `job_details` adds to the
response of a job what only the store knows.
"""
