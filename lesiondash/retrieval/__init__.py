"""A vector to its neighbours, scores and place on the map."""
