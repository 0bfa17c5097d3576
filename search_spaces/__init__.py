"""Factors, designs and search spaces, and the studies made of them."""
