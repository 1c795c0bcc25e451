"""The steps of python -m pipelines.forget, each of which may be killed and done again: request, plan, logs, units, releases, reviews, receipt."""
