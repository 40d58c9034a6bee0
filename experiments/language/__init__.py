"""The experiment part of the spec language: what each key means and how it is read."""
