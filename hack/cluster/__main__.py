"""Entry point of `python3 hack/cluster COMMAND`; everything it does is in lmms_eval_cluster."""

import sys

from lmms_eval_cluster.cli import main

sys.exit(main())
