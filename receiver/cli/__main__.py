"""`python -m receiver.cli` is `zohook`."""

from receiver.cli import main

main()
