"""What people look at: words, tables, pictures, pages, exports to other trackers."""
