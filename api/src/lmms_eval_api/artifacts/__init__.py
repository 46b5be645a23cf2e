"""What attempts have left behind: results, samples, answers and logs, from the object store and from the pod while it
exists.

Pure: `stored_files` (which files a job has), `frames` (compressed bytes to lines), `sample_filter` (wrong, empty),
`normaliser`, `sample_page`, `sample_cards`, `sample_search`; of journals `journal_position`, `journal_block`,
`batch_index`, `media_block`; `byte_cache`, `sorted_records`. `store` reads the object store; `results`, `samples`,
`answers` and `media` build on it, `sample_index` and `answer_stream` on those; of media, `media_digests` knows those of
samples and `media_journals` those of answers. `logs` reads the pod, then the store. `worker` parses in a process of its
own. `archive` puts them together; `job_details` adds to the response of a job what only the store knows.
"""
