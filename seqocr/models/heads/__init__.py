"""The decoding heads: one file each, and the registry that lists them."""
