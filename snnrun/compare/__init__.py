"""Comparison of runs on disk: tables, statistics and plots. Needs neither torch nor a network."""
