"""What runs on a CUDA device: the tests marked `gpu`, and figures with the card's name."""
