"""`python -m seqocr.cli`."""

from seqocr.cli import main

main()
