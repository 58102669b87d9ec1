"""The schema language: from text to checked entities."""
