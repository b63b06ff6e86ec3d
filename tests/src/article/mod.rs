//! The load of a hot article: readers who do nothing but read, editors who do what people do
//! (download, change a paragraph, post), and the account of what all of them saw.

mod account;
mod editors;
mod readers;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, sleep_until};

pub use account::Account;

/// What to do.
#[derive(Clone, Debug, Parser)]
#[command(about = "Reads an article and edits it, and checks what everybody saw")]
pub struct Plan {
    /// Where the node listens: HOST:PORT
    #[arg(long, default_value = "127.0.0.1:7878")]
    pub node: String,
    /// What readers read
    #[arg(long, default_value = "/wiki/Latest_plane_crash")]
    pub path: String,
    /// The document that editors edit
    #[arg(long, default_value = "Latest_plane_crash")]
    pub document: String,
    /// Readers, each with a connection of its own
    #[arg(long, default_value_t = 1_024)]
    pub readers: usize,
    /// Requests a second of all readers together; as fast as they are answered if 0
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Editors, each with a paragraph of its own
    #[arg(long, default_value_t = 10)]
    pub editors: usize,
    /// Edits a second of all editors together
    #[arg(long, default_value_t = 10.0)]
    pub edits: f64,
    /// How long, in seconds
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Tell it as JSON
    #[arg(long)]
    pub json: bool,
    /// Readers check nothing but the status: another server answers, or what it answers is made from
    /// the text
    #[arg(long)]
    pub unchecked: bool,
}

/// Does it, and tells how it went.
pub async fn run(plan: &Plan) -> Account {
    let account = Arc::new(Account::new(plan));
    let begin = Instant::now() + Duration::from_millis(200);
    let end = begin + Duration::from_secs_f64(plan.seconds);
    let editors: Vec<_> = (0..plan.editors)
        .map(|number| {
            let (plan, account) = (plan.clone(), Arc::clone(&account));
            tokio::spawn(editors::edit(plan, account, number, (begin, end)))
        })
        .collect();
    let readers: Vec<_> = (0..plan.readers)
        .map(|number| {
            let (plan, account) = (plan.clone(), Arc::clone(&account));
            tokio::spawn(readers::read(plan, account, number, (begin, end)))
        })
        .collect();
    sleep_until(end).await;
    for task in readers.into_iter().chain(editors) {
        if let Err(error) = task.await {
            account.wrong(format!("a task ended: {error}"));
        }
    }
    if plan.editors > 0 || !plan.unchecked {
        account.check_history(plan).await;
    }
    Arc::into_inner(account).expect("all who had it have ended")
}
