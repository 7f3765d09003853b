//! quell's decisions beside those of the engines that people would otherwise embed.
//!
//! ```text
//! mix: rules, events --+--> ours (policies, facts) --decide--> mute by which policy, or nothing
//!                      |                                                 || proven equal, then timed
//!                      +--> peer (its own form of both) ---------> mute by which policy, or nothing
//! ```

pub mod loaded;
pub mod mix;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peer;
#[cfg(feature = "peers")]
pub mod proof;
