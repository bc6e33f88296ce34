"""Training by 1, 2 and 4 processes: how far losses and weights differ, and what a killed process changes.
`python -m bench ranks` writes ranks.json, ranks.md and a plot."""
