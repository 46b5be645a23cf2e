"""Entry point of `python3 hack/web COMMAND`; everything it does is in lmms_eval_web."""

import sys
from pathlib import Path

# Its apt installs what is missing, under the lock that all tools share.
sys.path.append(str(Path(__file__).parents[1] / "images"))

from lmms_eval_web.cli import main

sys.exit(main())
