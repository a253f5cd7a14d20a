"""What people see of a search: on the terminal, in the dashboard, in a report, in a notebook."""
