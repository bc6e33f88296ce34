"""`python -m seqocr`."""

from seqocr.cli import main

if __name__ == "__main__":  # processes that draw batches may import this
    main()
