"""What the guest of a machine does."""
