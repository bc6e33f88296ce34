"""The server under load: how many lines a second beside the library's own, and what ten minutes of it do."""
