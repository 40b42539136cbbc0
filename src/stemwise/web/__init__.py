"""The HTTP interface: a catalogue served to a browser and to programs, on one machine."""
