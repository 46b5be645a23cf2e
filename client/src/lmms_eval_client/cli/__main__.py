"""`python -m lmms_eval_client.cli`."""

from lmms_eval_client.cli.main import main

main()
