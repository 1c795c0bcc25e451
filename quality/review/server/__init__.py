"""The web application: pages, accounts, queues and the database behind them. `python -m quality.review serve` runs it."""
