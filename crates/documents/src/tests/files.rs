//! On the real file system: what people see there, changes by hand while it is open, and copies.

use std::fs;

use super::*;
use crate::backup;

fn open(folder: &Path) -> Documents {
    let listener = Box::new(|_: &Name, _: &crate::Revision| ());
    Documents::open(folder, Limits::default(), listener).expect("opens")
}

async fn put(documents: &Documents, text: &str) -> u64 {
    let (text, html) = (Bytes::from(text.to_owned()), Some(MediaType::HTML));
    number(documents.put(&name(), text, html, Condition::Any, by("a", None)).await)
}

fn newest(documents: &Documents) -> (u64, String) {
    let current = documents.get("page").expect("is there");
    (current.revision.revision, text(&current.plain.bytes))
}

#[tokio::test]
async fn a_document_is_a_plain_file_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let documents = open(folder.path());
    assert_eq!(put(&documents, "one").await, 1);
    assert_eq!(put(&documents, "two").await, 2);
    let path = folder.path().join("page.html");
    assert_eq!(fs::read_to_string(path).expect("is there"), "two");
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .expect("is a folder")
        .map(|entry| entry.expect("is listed").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, [".revisions", "page.html"]);
    documents.close();
    assert_eq!(newest(&open(folder.path())), (2, "two".to_owned()));
}

#[tokio::test]
async fn changes_by_hand_are_noticed_while_it_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let documents = open(folder.path());
    put(&documents, "one").await;
    let mut revisions = documents.follow(&name()).expect("is there");
    fs::write(folder.path().join("page.html"), "by hand").expect("written");
    revisions.changed().await.expect("is told");
    assert_eq!(newest(&documents), (2, "by hand".to_owned()));
    // As editors do it, with a new file of that name.
    fs::write(folder.path().join("page.html~"), "again").expect("written");
    fs::rename(folder.path().join("page.html~"), folder.path().join("page.html")).expect("renamed");
    revisions.changed().await.expect("is told");
    assert_eq!(newest(&documents), (3, "again".to_owned()));
    documents.close();
}

#[tokio::test]
async fn a_file_that_is_gone_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let documents = open(folder.path());
    put(&documents, "one").await;
    let path = folder.path().join("page.html");
    fs::remove_file(&path).expect("removed");
    assert_eq!(put(&documents, "two").await, 2);
    assert_eq!(fs::read_to_string(&path).expect("is there"), "two");
    documents.close();
    fs::remove_file(&path).expect("removed");
    assert_eq!(newest(&open(folder.path())), (2, "two".to_owned()));
    assert_eq!(fs::read_to_string(&path).expect("is there"), "two");
}

#[tokio::test]
async fn what_two_write_at_the_same_moment_is_never_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let documents = open(folder.path());
    put(&documents, "one").await;
    let path = folder.path().join("page.html");
    let mut by_hand = 0;
    for n in 0..100 {
        // Sometimes it is seen before the next write, sometimes it gets under it.
        let (path, beside) = (path.clone(), folder.path().join("page.tmp"));
        let hand = tokio::task::spawn_blocking(move || {
            fs::write(&beside, format!("hand {n}")).expect("written");
            fs::rename(&beside, &path).expect("renamed");
        });
        put(&documents, &format!("put {n}")).await;
        hand.await.expect("written");
        // Seen in any case now: the next hand must not be the one that writes over it.
        put(&documents, &format!("after {n}")).await;
        by_hand += 1;
    }
    put(&documents, "last").await;
    documents.close();
    let history = documents.history(&name(), None, 10_000).expect("there");
    let texts: std::collections::HashSet<String> = history
        .iter()
        .filter_map(|it| documents.revision(&name(), it.revision).ok())
        .map(|(_, bytes)| text(&bytes))
        .collect();
    for n in 0..by_hand {
        for written in [format!("hand {n}"), format!("put {n}")] {
            assert!(texts.contains(&written), "{written} is lost: {}", history.len());
        }
    }
}

#[tokio::test]
async fn a_copy_is_a_folder_of_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let documents = open(&from);
    put(&documents, "one").await;
    put(&documents, "two").await;
    fs::write(from.join("other.txt"), "by hand").expect("written");
    let copied = backup(&from, &to).expect("copied");
    assert_eq!(copied.documents, 2);
    documents.close();
    let copy = open(&to);
    assert_eq!(newest(&copy), (2, "two".to_owned()));
    assert_eq!(text(&copy.revision(&name(), 1).expect("is kept").1), "one");
    assert_eq!(text(&copy.get("other").expect("is there").plain.bytes), "by hand");
    copy.close();
}
