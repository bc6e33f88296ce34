"""Numbers by hand in registers, forms and notes."""
