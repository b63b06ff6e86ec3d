//! Kills a node with SIGKILL at random moments while clients work with it, starts it again on the
//! same data, and holds it to everything that it has acknowledged. What the clients do and when the
//! node dies is drawn from a seed; how far each got by then is up to the machine.

mod client;
mod ledger;
mod work;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::client::Client;
pub use self::ledger::Tally;
use crate::random::Random;
use crate::{Node, Setup, Starting, guest};

/// Clients that work at the same time.
const CLIENTS: u64 = 6;

/// The longest that clients work before a kill, and that a start goes on before one.
const KILL_AFTER_MS_MAX: u64 = 300;

/// How long a kill waits for the write-ahead log to be copied back; then it comes all the same.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(5);

/// How often the database is looked at for that.
const CHECKPOINT_POLL: Duration = Duration::from_micros(200);

/// What to do.
pub struct Plan {
    /// Where all choices come from.
    pub seed: u64,
    /// How many times the node is killed.
    pub kills: u64,
}

/// `RUNABOUT_SEED`, which repeats the choices of an earlier time.
pub fn seed() -> Option<u64> {
    let text = std::env::var("RUNABOUT_SEED").ok()?;
    Some(text.parse().expect("RUNABOUT_SEED is a number"))
}

/// What came of it.
#[derive(Default)]
pub struct Account {
    /// Kills while clients worked.
    pub kills_at_work: u64,
    /// Kills right after the write-ahead log began to be copied into the database.
    pub kills_at_checkpoints: u64,
    /// Kills before the node said that it was ready.
    pub kills_at_start: u64,
    /// What the clients did and saw.
    pub tally: Tally,
    /// What the node did not keep; empty if all is well.
    pub broken: Vec<String>,
}

impl Account {
    /// All kills.
    pub fn kills(&self) -> u64 {
        self.kills_at_work + self.kills_at_checkpoints + self.kills_at_start
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills = self.kills();
        let (at_work, at_checkpoints) = (self.kills_at_work, self.kills_at_checkpoints);
        let at_start = self.kills_at_start;
        writeln!(
            f,
            "{kills} kills: {at_work} at work, {at_checkpoints} at checkpoints, {at_start} at start"
        )?;
        write!(f, "{}", self.tally)?;
        writeln!(f, "{} promises broken", self.broken.len())?;
        for broken in &self.broken {
            writeln!(f, "  {broken}")?;
        }
        Ok(())
    }
}

/// Kills the node as often as planned and accounts for every task; `progress` gets a line a kill.
/// Ends early once a promise is broken.
pub async fn run(plan: &Plan, mut progress: impl FnMut(&str)) -> Account {
    let folder = TempDir::new().expect("a folder can be made");
    let mut account = Account::default();
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let mut round = 0;
    while account.kills() < plan.kills && account.broken.is_empty() {
        let mut random = Random::new(&[plan.seed, round]);
        let node = start(folder.path(), &mut random).await;
        deploy(&node, round).await;
        clients = settle(&node, clients, &mut account).await;
        for client in &mut clients {
            client.begin_round(plan.seed, round);
        }
        clients = kill_at_work(node, clients, &mut random, &mut account).await;
        while account.kills() < plan.kills && random.percent(30) {
            kill_at_start(folder.path(), &mut random).await;
            account.kills_at_start += 1;
        }
        round += 1;
        progress(&format!("{} of {} kills", account.kills(), plan.kills));
    }
    let node = Node::start_in(folder.path(), &["--slots", "2"]).await;
    clients = settle(&node, clients, &mut account).await;
    clients = each(&node, clients, Client::send_all_again).await;
    clients = each(&node, clients, Client::await_ends).await;
    clients = settle(&node, clients, &mut account).await;
    clients = each(&node, clients, Client::audit_all).await;
    for client in clients {
        client.close(&mut account.tally, &mut account.broken);
    }
    account
}

async fn start(folder: &Path, random: &mut Random) -> Node {
    let slots = (1 + random.below(4)).to_string();
    Node::start_in(folder, &["--slots", &slots]).await
}

/// A function is there from the first acknowledged deploy on: later rounds do not hand it in again.
async fn deploy(node: &Node, round: u64) {
    if round == 0 {
        node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    }
}

/// Lets the clients work until the node is dead.
async fn kill_at_work(
    mut node: Node,
    clients: Vec<Client>,
    random: &mut Random,
    account: &mut Account,
) -> Vec<Client> {
    let dying = Arc::new(AtomicBool::new(false));
    let at_checkpoint = random.percent(25);
    let mut work = JoinSet::new();
    for mut client in clients {
        let (http, url, dying) = (node.client.clone(), node.url.clone(), Arc::clone(&dying));
        work.spawn(async move {
            client.work(&http, &url, at_checkpoint).await;
            if !dying.load(Ordering::SeqCst) {
                client.complain("the node stopped answering before it was killed".to_owned());
            }
            client
        });
    }
    if at_checkpoint && began_checkpoint(node.data_dir()).await {
        account.kills_at_checkpoints += 1;
    } else {
        sleep(Duration::from_millis(random.below(KILL_AFTER_MS_MAX))).await;
        account.kills_at_work += 1;
    }
    dying.store(true, Ordering::SeqCst);
    node.crash().await;
    in_order(work.join_all().await)
}

/// Waits until something is written into the database itself, which only a checkpoint does.
async fn began_checkpoint(folder: &Path) -> bool {
    let database = folder.join("tasks.db");
    let written_at = || -> Option<SystemTime> { database.metadata().ok()?.modified().ok() };
    let before = written_at();
    let deadline = Instant::now() + CHECKPOINT_WITHIN;
    while written_at() == before {
        if Instant::now() > deadline {
            return false;
        }
        sleep(CHECKPOINT_POLL).await;
    }
    true
}

/// Kills a node that is starting, wherever in its recovery it is.
async fn kill_at_start(folder: &Path, random: &mut Random) {
    let starting = Starting::spawn(folder, &Setup { flags: &["--slots", "2"], ..Setup::default() });
    sleep(Duration::from_millis(random.below(KILL_AFTER_MS_MAX))).await;
    starting.kill().await;
}

/// Holds the node to what it has acknowledged, and forgets some of what has ended.
async fn settle(node: &Node, clients: Vec<Client>, account: &mut Account) -> Vec<Client> {
    let tasks = all_tasks(node).await;
    let mut explained = BTreeSet::new();
    let mut clients = clients;
    for client in &mut clients {
        client.settle(&tasks, &mut explained);
    }
    let unexplained = tasks.iter().filter(|task| !explained.contains(id_of(task)));
    account.broken.extend(unexplained.map(|task| format!("nobody submitted {task}")));
    clients = each(node, clients, Client::audit_some).await;
    for client in &mut clients {
        account.broken.append(&mut client.take_complaints());
    }
    clients
}

/// All clients do this at the same time.
async fn each<F>(
    node: &Node,
    clients: Vec<Client>,
    what: fn(Client, reqwest::Client, String) -> F,
) -> Vec<Client>
where
    F: Future<Output = Client> + Send + 'static,
{
    let mut at_once = JoinSet::new();
    for client in clients {
        at_once.spawn(what(client, node.client.clone(), node.url.clone()));
    }
    in_order(at_once.join_all().await)
}

/// The same choices fall on the same client in every round.
fn in_order(mut clients: Vec<Client>) -> Vec<Client> {
    clients.sort_by_key(Client::index);
    clients
}

/// Every task the node has, in the order of submission.
async fn all_tasks(node: &Node) -> Vec<Value> {
    let mut tasks = Vec::new();
    let mut path = "/v1/tasks?limit=500".to_owned();
    loop {
        let page = crate::json_of(node.get(&path).await).await;
        tasks.extend_from_slice(page["items"].as_array().expect("is a list"));
        let Some(cursor) = page["next_cursor"].as_str() else {
            tasks.reverse();
            return tasks;
        };
        path = format!("/v1/tasks?limit=500&cursor={cursor}");
    }
}

fn id_of(task: &Value) -> &str {
    task["id"].as_str().unwrap_or_default()
}
