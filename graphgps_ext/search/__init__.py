"""Searches settings of a config by the validation metric, with Optuna."""
