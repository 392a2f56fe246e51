"""The Kubernetes side: what is there, what a release changes of it, and whether that worked."""
