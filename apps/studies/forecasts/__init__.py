"""How good forecasts are: what they are fitted on, what is exact, and the scores."""
