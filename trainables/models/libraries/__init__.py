"""Networks of torchvision and timm by name, and what is asked of any network: cost, sizes, weight files."""
