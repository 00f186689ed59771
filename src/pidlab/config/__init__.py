"""The configuration: its sections (`schema`) and how it is read (`load`)."""
