"""What is measured on: models with random weights, held-out lines, custom data."""
