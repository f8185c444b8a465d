"""What the functions of every system share; packaged beside the system's own folder."""
