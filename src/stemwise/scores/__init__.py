"""The scores: a metric is its definition, conventions, references and code."""
