"""From the features of candidates to one number each."""
