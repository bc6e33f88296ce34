"""Other ways to run a trained recognizer than PyTorch's eager mode."""
