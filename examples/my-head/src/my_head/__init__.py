"""A decoding head, a runtime and a reader for seqocr."""
