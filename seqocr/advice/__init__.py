"""Which head for which labels: label structure, and what the study found for such labels."""
