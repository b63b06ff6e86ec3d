//! Loads a node with an article that everybody reads while some edit it, and checks what everybody
//! saw. See `examples/article/README.md`.

use clap::Parser;
use runabout_tests::article::{Plan, run};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let told = run(&Plan::parse()).await;
    println!("{}", told.text());
    if told.is_well() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
