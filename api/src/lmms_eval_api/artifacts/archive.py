"""The readers of a release's artifacts, put together. `main` makes one, for `Backend`."""

from typing import Final

from lmms_eval_api.artifacts.answers import AnswerReader
from lmms_eval_api.artifacts.comparison import Comparer
from lmms_eval_api.artifacts.logs import LogReader
from lmms_eval_api.artifacts.media import MediaReader
from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.results import ResultsCache
from lmms_eval_api.artifacts.sample_index import SampleIndexReader
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.store import ArtifactStore
from lmms_eval_api.artifacts.task_files import TaskFiles
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.responses import ConcurrencyLimit
from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.kube.client import KubeClient

# Responses with more than one piece of a file; each holds one.
MEDIA_STREAMS: Final = 64


class Archive:
    """All readers; those of the object store are None without one: `results`, `samples`, `indexes`, `answers`,
    `comparisons`, `task_files`, `media`, `media_journals`.

    `follows`, `downloads` and `media_streams` limit the responses that last. Files are parsed in `worker`,
    and what takes seconds in `comparison_worker`, which starts with the first comparison.
    """

    def __init__(
        self,
        client: KubeClient,
        store: ArtifactStore | None,
        settings: ApiSettings,
        worker: Worker,
        comparison_worker: Worker | None = None,
    ) -> None:
        self.results: ResultsCache | None = None
        self.samples: SampleReader | None = None
        self.indexes: SampleIndexReader | None = None
        self.answers: AnswerReader | None = None
        self.comparisons: Comparer | None = None
        self.task_files: TaskFiles | None = None
        self.media: MediaReader | None = None
        self.media_journals: MediaJournals | None = None
        if store is not None:
            self.results = ResultsCache(store, worker)
            self.samples = SampleReader(store, worker)
            self.indexes = SampleIndexReader(store, worker, self.samples)
            self.comparisons = Comparer(self.results, self.indexes, comparison_worker or Worker())
            self.media_journals = MediaJournals(store, worker, self.samples)
            self.answers = AnswerReader(store, worker, self.samples, self.media_journals)
            self.task_files = TaskFiles(store, self.samples)
            self.media = MediaReader(store, self.media_journals)
        self.logs = LogReader(client, self.samples)
        follows = "So many logs and answers are followed here that no more can be; ask another replica, or later."
        self.follows = ConcurrencyLimit(settings.max_log_follows, follows)
        downloads = "So many whole files are sent here that no more can be; ask another replica, or later."
        self.downloads = ConcurrencyLimit(settings.max_downloads, downloads)
        streams = "So many videos and large files are sent here that no more can be; ask another replica, or later."
        self.media_streams = ConcurrencyLimit(MEDIA_STREAMS, streams)
