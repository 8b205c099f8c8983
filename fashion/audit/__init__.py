"""What is wrong with the data: duplicates and likely label errors."""
