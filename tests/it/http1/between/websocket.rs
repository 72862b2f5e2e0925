//! WebSockets from one protocol to the other.
