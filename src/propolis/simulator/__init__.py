"""The same parties under virtual time, with links, device models, churn and adversaries."""
