"""Designs a sweep for a domain and a time: what `transfergan init` writes."""
