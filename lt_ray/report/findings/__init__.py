"""What a report finds: numbers, tables and sentences as plain values, without a layout."""
