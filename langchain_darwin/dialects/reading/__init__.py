"""What others wrote, in the forms that this package works with: content blocks, words of calls, types of values."""
