//! Who edits: downloads the page, changes a paragraph, posts the page back.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{Account, Plan};

/// An edit that was acknowledged.
#[derive(Clone, Debug)]
pub struct Edit {
    pub editor: usize,
    pub revision: u64,
    /// What stands in the paragraph from then on.
    pub words: String,
}

/// Edits from `begin` to `end`.
pub async fn edit(
    plan: Plan,
    account: Arc<Account>,
    number: usize,
    (begin, end): (Instant, Instant),
) {
    let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
    let url = format!("http://{}/v1/documents/{}", plan.node, plan.document);
    let pause = Duration::from_secs_f64(plan.editors as f64 / plan.edits.max(0.001));
    let mut due = begin + pause.mul_f64(number as f64 / plan.editors as f64);
    for count in 0_u64.. {
        sleep_until(due.min(end)).await;
        if Instant::now() >= end {
            return;
        }
        let began = Instant::now();
        match once(&client, &url, number, count).await {
            Ok(edit) => account.edited(edit, began.elapsed()),
            Err(why) => account.wrong(format!("editor {number}: {why}")),
        }
        due += pause;
    }
}

async fn once(client: &Client, url: &str, editor: usize, count: u64) -> Result<Edit, String> {
    let told = |error: reqwest::Error| error.to_string();
    let page = client.get(url).send().await.map_err(told)?;
    let base = page.headers().get("runabout-revision").and_then(|it| it.to_str().ok());
    let base: u64 = base.and_then(|it| it.parse().ok()).ok_or("the page names no revision")?;
    let text = page.text().await.map_err(told)?;
    let words = format!("editor {editor} was here for the {count}. time");
    let changed = changed(&text, editor, &words).ok_or("the page has too few paragraphs")?;
    let request = client
        .post(format!("{url}?base={base}"))
        .header("Content-Type", "text/html")
        .header("Runabout-Author", format!("editor {editor}"))
        .header("Idempotency-Key", format!("{editor}-{count}-{base}"))
        .body(changed);
    let answer = request.send().await.map_err(told)?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(told)?;
    if status != StatusCode::OK {
        return Err(format!("{status}: {}", body["detail"]));
    }
    let revision = body["revision"].as_u64().ok_or("the answer names no revision")?;
    Ok(Edit { editor, revision, words })
}

/// The text with that paragraph's last remark replaced.
fn changed(text: &str, number: usize, words: &str) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut paragraphs = lines.iter_mut().filter(|line| line.starts_with("<p>"));
    let line = paragraphs.nth(number)?;
    let end = line.find(" <i>").or_else(|| line.find("</p>"))?;
    *line = format!("{} <i>{words}</i></p>\n", &line[..end]);
    Some(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn an_editor_changes_its_own_paragraph() {
        let text = "<h1>a</h1>\n<p>one</p>\n<p>two</p>\n";
        let once = changed(text, 1, "x").expect("has two");
        assert_eq!(once, "<h1>a</h1>\n<p>one</p>\n<p>two <i>x</i></p>\n");
        assert_eq!(changed(&once, 1, "y").expect("has two"), once.replace('x', "y"));
        assert_eq!(changed(text, 2, "x"), None);
    }
}
