"""``python -m modelberth.engine`` is ``modelberth``."""

from modelberth.engine.cli import main

main()
