"""Displays of segments, of dots, and of dashboards."""
