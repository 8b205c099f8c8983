"""Measurements that anyone can repeat: ``python scripts/benchmark.py --help``."""
