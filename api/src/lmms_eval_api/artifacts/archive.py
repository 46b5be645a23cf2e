"""What the front end can say of the files of jobs: the parts of `artifacts` put together. `main` makes one, for `Backend`."""

from lmms_eval_api.artifacts.logs import Logs
from lmms_eval_api.artifacts.results import ResultsCache
from lmms_eval_api.artifacts.samples import Samples
from lmms_eval_api.artifacts.store import Store
from lmms_eval_api.artifacts.task_files import TaskFiles
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.responses import ConcurrencyLimit
from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.kube.client import KubeClient


class Archive:
    """`results`, `samples` and `task_files` are None where the front end knows no store.

    `follows` and `downloads` bound what lasts. `worker` is where the content of files is looked into.
    """

    def __init__(self, client: KubeClient, store: Store | None, settings: ApiSettings) -> None:
        self.worker = Worker()
        self.results = ResultsCache(store, self.worker) if store is not None else None
        self.samples = Samples(store, self.worker) if store is not None else None
        self.task_files = TaskFiles(store, self.samples) if store is not None and self.samples is not None else None
        self.logs = Logs(client, self.samples)
        follows = "So many logs are followed here that no more can be; ask another replica, or later."
        self.follows = ConcurrencyLimit(settings.max_log_follows, follows)
        downloads = "So many whole files are sent here that no more can be; ask another replica, or later."
        self.downloads = ConcurrencyLimit(settings.max_downloads, downloads)
