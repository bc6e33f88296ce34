"""What every experiment shares: the store, the timer, the runner."""
