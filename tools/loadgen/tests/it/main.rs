//! Loadgen against a real server.
