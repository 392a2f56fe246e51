"""Modelberth brings large models onto Kubernetes storage and into service."""
