//! Where things are in the snapshot's memory, as the build script found them.

include!(concat!(env!("OUT_DIR"), "/quickjs_layout.rs"));
