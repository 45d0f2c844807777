"""Many configs, one table: plans runs, carries them out, collects and shows them. See run/benchmark.py."""
