"""What starts runs: the event log sensor and the daily schedule. A sensor writes nothing but its cursor."""
