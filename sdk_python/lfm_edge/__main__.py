"""`python -m lfm_edge` is `lfm-edge`."""

from .cli import main

main()
