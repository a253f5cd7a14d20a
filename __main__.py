"""``python -m paretonas`` is the command ``paretonas``."""

from .search.cli import main

main()
