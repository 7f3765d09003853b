//! What several targets ask of what `quell-policy` reads.
//!
//! ```text
//! bytes --target--> read -- refused --> the problems are clear, and in the text
//!                     '---- read -----> written, read again: the same; decides by its laws
//! ```

pub mod laws;
pub mod problems;
pub mod samples;
