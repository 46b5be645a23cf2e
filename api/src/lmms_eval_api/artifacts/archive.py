"""The readers of a release's artifacts, put together. `main` makes one, for `Backend`."""

from lmms_eval_api.artifacts.answers import AnswerReader
from lmms_eval_api.artifacts.logs import LogReader
from lmms_eval_api.artifacts.results import ResultsCache
from lmms_eval_api.artifacts.sample_index import SampleIndexReader
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.store import ArtifactStore
from lmms_eval_api.artifacts.task_files import TaskFiles
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.responses import ConcurrencyLimit
from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.kube.client import KubeClient


class Archive:
    """All readers; those of the object store are None without one: `results`, `samples`, `indexes`, `answers`,
    `task_files`.

    `follows` and `downloads` limit the responses that last. The content of files is parsed in `worker`.
    """

    def __init__(self, client: KubeClient, store: ArtifactStore | None, settings: ApiSettings, worker: Worker) -> None:
        self.results = ResultsCache(store, worker) if store is not None else None
        self.samples = SampleReader(store, worker) if store is not None else None
        self.indexes = SampleIndexReader(store, worker, self.samples) if store is not None and self.samples else None
        self.task_files = TaskFiles(store, self.samples) if store is not None and self.samples is not None else None
        self.answers = AnswerReader(store, worker, self.samples) if store is not None and self.samples else None
        self.logs = LogReader(client, self.samples)
        follows = "So many logs and answers are followed here that no more can be; ask another replica, or later."
        self.follows = ConcurrencyLimit(settings.max_log_follows, follows)
        downloads = "So many whole files are sent here that no more can be; ask another replica, or later."
        self.downloads = ConcurrencyLimit(settings.max_downloads, downloads)
