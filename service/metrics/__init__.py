"""Metrics for Prometheus (docs/metrics.md). prometheus_client is imported in `render.py` alone."""
