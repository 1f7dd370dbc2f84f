"""Long work in units that can be run anywhere and in any order, with one result."""
