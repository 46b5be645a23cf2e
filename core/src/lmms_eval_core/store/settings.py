"""Where the object store is, from the environment. The same names in reporter and front end; the chart sets them.

Credentials never pass through here: obstore takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity token,
GOOGLE_APPLICATION_CREDENTIALS or AZURE_* from the environment by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENV_URL: Final = "LMMS_EVAL_STORE_URL"
ENV_ENDPOINT: Final = "LMMS_EVAL_STORE_ENDPOINT"
ENV_REGION: Final = "LMMS_EVAL_STORE_REGION"
ENV_CA_FILE: Final = "LMMS_EVAL_STORE_CA_FILE"


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """One store. All keys lie below the path of `url`; nobody can read or write outside it."""

    url: str
    """`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://ACCOUNT/CONTAINER/PREFIX`. The bucket must exist."""

    endpoint: str = ""
    """Address of an S3 service other than AWS. `http://` is allowed where it is written here."""

    region: str = ""
    """Region of the bucket; obstore's default, us-east-1, suits services that have none."""

    ca_file: Path | None = None
    """Certificate authority of the endpoint, in PEM, added to the system's."""

    read_seconds: float = 20.0
    """How long to wait for data within a request. Whole requests are not bounded: samples may be gigabytes."""

    retry_seconds: float = 10.0
    """How long one call tries again by itself before it raises; callers have their own, longer retries."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "StoreSettings":
        """Read the settings; KeyError where the URL is not set."""
        ca_file = environment.get(ENV_CA_FILE)
        return cls(
            url=environment[ENV_URL].rstrip("/"),
            endpoint=environment.get(ENV_ENDPOINT, ""),
            region=environment.get(ENV_REGION, ""),
            ca_file=Path(ca_file) if ca_file else None,
        )
