"""The networks, one file a family; `trainables.registry` names them."""
