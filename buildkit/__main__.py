"""``python -m buildkit`` is the command ``modelpack``."""

from buildkit.cli.main import main

main()
