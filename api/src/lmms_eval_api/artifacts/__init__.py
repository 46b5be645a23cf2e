"""What attempts have left behind: results, samples and logs, out of the object store and, while it lives, out of the pod.

Pure: `places` (which files a job has), `frames` (compressed bytes to lines), `cursor`, `judge` (wrong, empty), `sanitise`,
`page`. `store` reads, and says so when it cannot; `results` and `samples` stand on it. `logs` goes from the pod to the store.
"""
