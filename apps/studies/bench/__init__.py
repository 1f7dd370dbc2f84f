"""`steer bench`: what editing costs and what the effects save, on the machine at hand."""
