"""Every bad input answered by one line and exit code 2. `python -m pytest tests/fuzz` counts the cases."""
