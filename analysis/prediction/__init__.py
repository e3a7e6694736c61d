"""Predictors of transfer, and the recommendation of a source."""
