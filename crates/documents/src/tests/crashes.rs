//! Every step of a history is made to go wrong, in every way; what was acknowledged is there after
//! it, and nothing else than what was asked for.

use super::*;
use crate::disk::simulated::Mishap;

const BASE: &str = "one\ntwo\nthree\nfour\n";

/// What a history has acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Their texts, where it is known which one came first.
    revisions: Vec<(u64, Option<String>)>,
    is_deleted: bool,
}

/// A history with everything in it; ends at the first error.
async fn history(store: &Fixture) -> (Acknowledged, Option<Error>) {
    let mut done = Acknowledged::default();
    let error = steps(store, &mut done).await.err();
    (done, error)
}

async fn steps(store: &Fixture, done: &mut Acknowledged) -> Result<(), Error> {
    let mut note = |accepted: Accepted, text: &str| {
        let text = (!text.is_empty()).then(|| text.to_owned());
        done.revisions.push((accepted.revision.revision, text));
    };
    note(store.create(BASE).await?, BASE);
    note(store.edit(1, "ONE\ntwo\nthree\nfour\n").await?, "ONE\ntwo\nthree\nfour\n");
    note(store.edit(1, "one\ntwo\nthree\nFOUR\n").await?, "ONE\ntwo\nthree\nFOUR\n");
    // Two that wait together.
    let (two, three) = tokio::join!(
        store.edit(1, "one\nTWO\nthree\nfour\n"),
        store.edit(1, "one\ntwo\nTHREE\nfour\n")
    );
    for accepted in [two?, three?] {
        note(accepted, "");
    }
    let back = store.documents.revert(&name(), 1, Condition::Any, by("a", None)).await?;
    note(back, BASE);
    note(store.put("last\n", Condition::At(vec![6])).await?, "last\n");
    store.documents.delete(&name(), Condition::Any, by("a", None)).await?;
    done.is_deleted = true;
    note(store.create("again\n").await?, "again\n");
    Ok(())
}

/// Everything that can be in the file.
fn is_whole(text: &str) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let fits = |line: &str, word: &str| line == word || line == word.to_uppercase();
    matches!(text, "last\n" | "again\n")
        || (lines.len() == 4
            && ["one", "two", "three", "four"]
                .iter()
                .zip(lines)
                .all(|(word, line)| fits(line, word)))
}

fn check(store: &Fixture, done: &Acknowledged, context: &str) {
    let last = done.revisions.last();
    match store.newest() {
        Some((number, text)) => {
            assert!(is_whole(&text), "{context}: {text:?}");
            assert!(last.is_none_or(|(last, _)| *last <= number), "{context}: {done:?} {number}");
            assert_eq!(store.revision(number), Some(text), "{context}");
            let history = store.documents.history(&name(), None, 100).expect("there");
            assert!(history.iter().all(|it| it.author != "file"), "{context}: {history:?}");
        }
        None => assert!(last.is_none_or(|(last, _)| *last == 7), "{context}: {done:?}"),
    }
    if store.newest().is_some_and(|(number, _)| number < 8) {
        for (number, text) in &done.revisions {
            let found = store.revision(*number);
            assert!(found.is_some(), "{context}: {number} is lost");
            assert!(text.is_none() || found == *text, "{context}: {number}: {found:?}");
        }
    }
}

#[tokio::test]
async fn whatever_a_crash_leaves_holds_what_was_acknowledged() {
    let steps = {
        let store = Fixture::new();
        let (done, error) = history(&store).await;
        assert_eq!((error, done.revisions.len(), done.is_deleted), (None, 8, true));
        store.disk.steps()
    };
    for step in 1..=steps {
        for seed in 0..12 {
            let disk = SimulatedDisk::default();
            disk.mishap_at(step, Mishap::Crash);
            let disk = Arc::new(disk);
            // A crash while it is opened for the first time leaves nothing to ask.
            let Ok(documents) = open(&disk) else { continue };
            let store = Fixture { disk, documents };
            let (done, _) = history(&store).await;
            let mut random = fastrand::Rng::with_seed(seed);
            let choose = |n: usize| match seed {
                0 => 0,
                1 => n - 1,
                _ => random.usize(..n),
            };
            let after = store.crashed(choose);
            check(&after, &done, &format!("step {step}, seed {seed}"));
            // And it goes on.
            let number = after.newest().map_or(0, |(number, _)| number);
            let more = after.put("last\n", Condition::Any).await.expect("taken");
            assert!(more.revision.revision >= number);
        }
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_written_again_when_there_is_room() {
    let whole = Fixture::new();
    assert_eq!(history(&whole).await.1, None);
    for step in 1..=whole.disk.steps() {
        let disk = Arc::new(SimulatedDisk::default());
        disk.mishap_at(step, Mishap::Full);
        let Ok(documents) = open(&disk) else { continue };
        let store = Fixture { disk, documents };
        let (done, error) = history(&store).await;
        let Some(error) = error else { continue };
        assert_eq!(error, Error::Full, "step {step}");
        let newest = store.newest().map(|(number, _)| number);
        let expected = done.revisions.last().map(|(number, _)| *number);
        assert_eq!(newest, expected.filter(|_| !done.is_deleted), "step {step}");
        store.disk.free();
        store.put("last\n", Condition::Any).await.expect("there is room");
        let store = store.crashed(|_| 0);
        check(&store, &done, &format!("step {step}"));
        assert_eq!(store.newest().map(|(_, text)| text), Some("last\n".to_owned()));
    }
}

#[tokio::test]
async fn after_a_panic_the_document_is_only_read_and_others_are_written() {
    let whole = Fixture::new();
    let opened = whole.disk.steps();
    assert_eq!(history(&whole).await.1, None);
    for step in opened + 1..=whole.disk.steps() {
        let store = Fixture::new();
        store.disk.mishap_at(step, Mishap::Panic);
        let (done, error) = history(&store).await;
        // What comes last tidies up behind an answer.
        let Some(error) = error else { continue };
        let is_told = |it: &Error| matches!(it, Error::ReadOnly(why) if why.contains("a test"));
        assert!(is_told(&error), "step {step}: {error}");
        assert_eq!(store.documents.failed().map(|(name, _)| name), Some(name()));
        // As many as there are threads, and more: none of them waits for ever.
        for _ in 0..16 {
            let refused = store.put("more", Condition::Any).await.expect_err("is only read");
            assert!(is_told(&refused), "step {step}: {refused}");
        }
        let (other, text) = ("other".parse().expect("a name"), Bytes::from_static(b"a"));
        let made = store.documents.put(&other, text, None, Condition::Absent, by("a", None)).await;
        assert_eq!(number(made), 1);
        let newest = store.newest().map(|(number, _)| number);
        let expected = done.revisions.last().map(|(number, _)| *number);
        // The seventh is followed by the deletion, which may have been made and not be answered.
        assert!(newest >= expected || expected == Some(7), "step {step}: {newest:?} {expected:?}");
        let store = store.crashed(|_| 0);
        check(&store, &done, &format!("step {step}"));
        store.put("last\n", Condition::Any).await.expect("is written again");
    }
}

#[tokio::test]
async fn after_a_failed_sync_the_document_is_only_read() {
    let whole = Fixture::new();
    assert_eq!(history(&whole).await.1, None);
    for step in 1..=whole.disk.steps() {
        let disk = Arc::new(SimulatedDisk::default());
        disk.mishap_at(step, Mishap::Unsynced);
        let Ok(documents) = open(&disk) else { continue };
        let store = Fixture { disk, documents };
        let (done, error) = history(&store).await;
        let Some(error) = error else { continue };
        assert!(matches!(error, Error::ReadOnly(_)), "step {step}: {error}");
        assert!(store.documents.failed().is_some());
        let refused = store.put("more", Condition::Any).await;
        assert!(matches!(refused, Err(Error::ReadOnly(_))), "step {step}: {refused:?}");
        let store = store.crashed(|_| 0);
        check(&store, &done, &format!("step {step}"));
    }
}
