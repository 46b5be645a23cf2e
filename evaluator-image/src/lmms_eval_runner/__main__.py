"""`python -m lmms_eval_runner`, the command of the evaluator container."""

import sys

from .main import main

sys.exit(main())
