"""What is measured in data, where there are no labels: weights, efficiencies, yields."""
