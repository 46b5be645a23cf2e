"""The results of a job: lmms-eval's own results file, its scores as typed objects, and the table that
lmms-eval prints.
"""

from dataclasses import dataclass, field
from typing import Any

from lmms_eval_client.table import format_tables, list_score_rows
from lmms_eval_core.results_file import build_score_table
from lmms_eval_core.status import Metric


@dataclass(frozen=True)
class Results:
    """`output` is the results file, whole.

    `scores` the numbers in it: scores["mme"]["mme_perception_score,none"].value.
    """

    output: dict[str, Any] = field(repr=False)

    @property
    def scores(self) -> dict[str, dict[str, Metric]]:
        """Task or group, metric with its filter, then `value` and `stderr`; None where there is no number.

        A metric that is a mapping is shown number by number: `metric.name,filter`.
        """
        if not isinstance(self.output.get("results"), dict):
            return {}
        return build_score_table(self.output, max_tasks=None).scores

    def rows(self) -> list[dict[str, Any]]:
        """One row for each metric of each task, with the columns of lmms-eval's table."""
        return list_score_rows(self.output)

    def table(self) -> str:
        """What lmms-eval prints of them at the end of a run, to the character."""
        return format_tables(self.output)

    def __str__(self) -> str:
        return self.table()
