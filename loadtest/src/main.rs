//! Loads a hub for Server-Sent Events, checks every event of every subscriber, and reports what it
//! cost. It shares no code with the hub, so that it cannot share the hub's mistakes.

mod outcome;

fn main() {}
