"""What is varied: factors and designs, spaces, and the studies made of them."""
