//! Changes by hand: noticed, kept, and never overwritten unseen.

use super::*;
use crate::Kind;

#[tokio::test]
async fn a_change_by_hand_becomes_a_revision_before_the_next_edit() {
    let store = Fixture::new();
    store.create("a\nb\nc\n").await.expect("made");
    store.disk.write_by_hand(&file(), b"a\nhand\nc\n");
    assert_eq!(number(store.edit(1, "a\nb\nC\n").await), 3);
    assert_eq!(store.newest(), Some((3, "a\nhand\nC\n".to_owned())));
    let history = store.documents.history(&name(), None, 2).expect("there");
    assert_eq!((history[1].kind, history[1].author.as_str()), (Kind::File, "file"));
    let store = store.crashed(|_| 0);
    assert_eq!(store.newest(), Some((3, "a\nhand\nC\n".to_owned())));
}

#[tokio::test]
async fn a_change_while_the_node_was_away_becomes_a_revision() {
    let store = Fixture::new();
    store.create("a\n").await.expect("made");
    store.edit(1, "b\n").await.expect("taken");
    for (by_hand, revision) in [("c\n", 3), ("b\n", 4)] {
        store.disk.write_by_hand(&file(), by_hand.as_bytes());
        let documents = open(&store.disk).expect("opens");
        let current = documents.get("page").expect("is there");
        assert_eq!(current.revision.revision, revision);
        assert_eq!(text(&current.plain.bytes), by_hand);
    }
}

#[tokio::test]
async fn a_file_put_there_by_hand_becomes_a_document() {
    let disk = Arc::new(SimulatedDisk::default());
    disk.write_by_hand(&file(), b"hello");
    disk.write_by_hand(&Path::new(FOLDER).join("no document.html"), b"");
    disk.write_by_hand(&Path::new(FOLDER).join("a.b.html"), b"");
    let documents = open(&disk).expect("opens");
    let listed: Vec<_> = documents.list("", 10).into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, [name()]);
    assert_eq!(text(&documents.get("page").expect("is there").plain.bytes), "hello");
}

#[tokio::test]
async fn what_cannot_be_a_revision_stops_writes_until_it_is_mended() {
    let store = Fixture::new();
    store.create("a\n").await.expect("made");
    store.disk.write_by_hand(&file(), b"\xff");
    let refused = store.edit(1, "b\n").await;
    assert!(matches!(refused, Err(Error::FileUnusable(_))), "{refused:?}");
    assert_eq!(store.newest(), Some((1, "a\n".to_owned())));
    store.disk.write_by_hand(&file(), b"a\nc\n");
    assert_eq!(number(store.put("d\n", Condition::Any).await), 3);
    assert_eq!(store.revision(2), Some("a\nc\n".to_owned()));
}

#[tokio::test]
async fn a_hand_that_writes_again_and_again_while_it_is_taken_in_loses_nothing() {
    let store = Fixture::new();
    store.create("one\n").await.expect("made");
    store.disk.hands_before_exchanges(&["hand 1\n", "hand 2\n", "hand 3\n"]);
    store.put("two\n", Condition::Any).await.expect("taken");
    let history = store.documents.history(&name(), None, 100).expect("there");
    let texts: Vec<_> = history.iter().rev().filter_map(|it| store.revision(it.revision)).collect();
    for written in ["one\n", "two\n", "hand 1\n", "hand 2\n", "hand 3\n"] {
        assert!(texts.iter().any(|text| text == written), "{written:?} is lost: {texts:?}");
    }
}
