"""The networks, one module per family; `trainables.registry` names them."""
