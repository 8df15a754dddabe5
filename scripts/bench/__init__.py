"""Parts of scripts/benchmark.py: cases, implementations in worker processes, the limit, measuring and reporting."""
