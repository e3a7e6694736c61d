"""One trial: from its configuration to its last measurement."""
