//! libFuzzer around one target. Its command line belongs to libFuzzer, so that the variable
//! `RUNABOUT_FUZZ_TARGET` says which.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use runabout_fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("RUNABOUT_FUZZ_TARGET").unwrap_or_default();
    target(&name).expect("RUNABOUT_FUZZ_TARGET names a target; see fuzz/src/lib.rs")
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
