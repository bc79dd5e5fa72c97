"""`python -m tomopatch`: the command."""

import sys

from tomopatch.cli.main import main

sys.exit(main())
