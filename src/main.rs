//! Arguments -> run.

fn main() {}
