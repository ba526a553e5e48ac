"""`python -m quada` is the `quada` command."""

from quada.cli import main

main()
