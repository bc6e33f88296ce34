"""From stored measurements to tables, plots and pages. Nothing here measures."""
