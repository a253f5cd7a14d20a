"""What people take home: choosing from the front, training on, exporting."""
