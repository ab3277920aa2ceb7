"""Where companies are: cities, states, countries, areas, and addresses as people write them."""
