"""Numbers from records, and what they decide. Pure: no file is read, no sentence written, nothing drawn."""
