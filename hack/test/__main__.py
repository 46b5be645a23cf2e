"""Entry point of `make test`; everything it does is in lmms_eval_test."""

import sys

from lmms_eval_test.cli import main

sys.exit(main())
