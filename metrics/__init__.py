"""What is measured: KPIs, events, stores and pure statistics. Knows nothing of experiments."""
