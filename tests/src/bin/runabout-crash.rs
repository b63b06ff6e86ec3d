//! Kills a node many times over and accounts for every task: `cargo xtask crash --kills 200`.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use runabout_tests::crash::{self, Plan};

const KILLS: u64 = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let kills = match std::env::args().nth(1).map(|argument| argument.parse()) {
        None => KILLS,
        Some(Ok(kills)) => kills,
        Some(Err(error)) => {
            eprintln!("error: the number of kills: {error}");
            return ExitCode::from(2);
        }
    };
    let seed = crash::seed().unwrap_or_else(any_seed);
    println!("RUNABOUT_SEED={seed}");
    let begun = Instant::now();
    let account = crash::run(&Plan { seed, kills }, |line| println!("{line}")).await;
    print!("\n{account}");
    println!("{:.0} s, RUNABOUT_SEED={seed}", begun.elapsed().as_secs_f64());
    if account.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}
