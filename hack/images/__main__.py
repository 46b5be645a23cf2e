"""Entry point of `python3 hack/images COMMAND`; everything it does is in lmms_eval_images."""

import sys

from lmms_eval_images.cli import main

sys.exit(main())
