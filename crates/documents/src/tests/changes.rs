//! What is taken, what is refused, and what is remembered.

use super::*;
use crate::{Change, Kind};

#[tokio::test]
async fn a_document_is_made_replaced_edited_and_deleted() {
    let store = Fixture::new();
    assert_eq!(store.newest(), None);
    assert_eq!(number(store.create("a\nb\n").await), 1);
    assert_eq!(store.create("c").await, Err(Error::ConditionFailed(Some(1))));
    assert_eq!(number(store.put("a\nb\nc\n", Condition::At(vec![1])).await), 2);
    let stale = store.put("d", Condition::At(vec![1])).await;
    assert_eq!(stale, Err(Error::ConditionFailed(Some(2))));
    assert_eq!(number(store.edit(1, "A\nb\n").await), 3);
    assert_eq!(store.newest(), Some((3, "A\nb\nc\n".to_owned())));

    let history = store.documents.history(&name(), None, 10).expect("there");
    let told: Vec<_> = history
        .iter()
        .map(|it| (it.revision, it.parent, it.base, it.kind, it.merged, it.author.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (3, Some(2), Some(1), Kind::Edit, true, "b"),
            (2, Some(1), None, Kind::Replace, false, "a"),
            (1, None, None, Kind::Create, false, "a"),
        ]
    );
    assert_eq!(store.revision(2), Some("a\nb\nc\n".to_owned()));
    let none = store.documents.revision(&name(), 4).map(drop);
    assert!(matches!(none, Err(Error::RevisionNotFound { oldest: 1, newest: 3, .. })), "{none:?}");

    let deleted = store.documents.delete(&name(), Condition::Any, by("a", None)).await;
    assert_eq!(deleted, Ok(()));
    assert_eq!(store.newest(), None);
    assert_eq!(store.edit(3, "x").await, Err(Error::NotFound(name())));
    assert_eq!(number(store.create("new").await), 5);
    assert_eq!(store.revision(3), None);
    let again = store.crashed(|_| 0);
    assert_eq!(again.newest(), Some((5, "new".to_owned())));
}

#[tokio::test]
async fn a_list_of_revisions_reads_none_of_their_texts() {
    let store = Fixture::new();
    let mut random = fastrand::Rng::with_seed(1);
    let mut long = || (0..400_000).map(|_| random.alphanumeric()).collect::<String>();
    store.create(&long()).await.expect("made");
    for _ in 1..20 {
        store.put(&long(), Condition::Any).await.expect("taken");
    }
    let before = store.disk.bytes_read();
    let history = store.documents.history(&name(), None, 100).expect("there");
    let numbers: Vec<_> = history.iter().map(|it| (it.revision, it.bytes)).collect();
    assert_eq!(numbers, (1..=20).rev().map(|number| (number, 400_000)).collect::<Vec<_>>());
    let read = store.disk.bytes_read() - before;
    assert!(read < 20 * 20_000, "{read} bytes");
}

#[tokio::test]
async fn an_edit_that_collides_shows_both_texts_and_where() {
    let store = Fixture::new();
    store.create("a cat\nb\n").await.expect("made");
    store.edit(1, "a dog\nb\n").await.expect("taken");
    let Err(Error::Conflict(conflict)) = store.edit(1, "a cow\nb\n").await else {
        panic!("no conflict");
    };
    assert_eq!((conflict.base.revision, conflict.current.revision), (1, 2));
    assert_eq!(conflict.current.text.as_deref(), Some("a dog\nb\n"));
    assert_eq!(conflict.yours.as_deref(), Some("a cow\nb\n"));
    assert_eq!(conflict.collisions.len(), 1);
    assert_eq!(conflict.collisions[0].yours.text, "a cow\n");
    assert_eq!(store.newest(), Some((2, "a dog\nb\n".to_owned())));
    assert_eq!(store.documents.counted().conflicts, 1);
}

#[tokio::test]
async fn what_changes_nothing_makes_no_revision() {
    let store = Fixture::new();
    store.create("a\n").await.expect("made");
    store.edit(1, "b\n").await.expect("taken");
    for unchanged in [store.edit(1, "a\n").await, store.put("b\n", Condition::Any).await] {
        let unchanged = unchanged.expect("taken");
        assert_eq!((unchanged.revision.revision, unchanged.change), (2, Change::Unchanged));
    }
}

#[tokio::test]
async fn an_edit_that_is_sent_again_is_the_same_edit() {
    let store = Fixture::new();
    store.create("a\nb\nc\n").await.expect("made");
    let first = store.edit_as(1, "A\nb\nc\n", Some("k")).await.expect("taken");
    store.edit(1, "a\nb\nC\n").await.expect("taken");
    let again = store.edit_as(1, "A\nb\nc\n", Some("k")).await.expect("taken");
    assert_eq!((again.change, &again.revision), (Change::Replayed, &first.revision));
    let store = store.crashed(|_| 0);
    let again = store.edit_as(1, "A\nb\nc\n", Some("k")).await.expect("taken");
    assert_eq!((again.change, &again.revision), (Change::Replayed, &first.revision));
    let other = Key { key: "k".to_owned(), fingerprint: [1; 32] };
    let by = By { key: Some(other), ..by("b", None) };
    let reused = store.documents.edit(&name(), 1, "x".into(), by).await;
    assert_eq!(reused, Err(Error::KeyReused));
    assert_eq!(store.newest(), Some((3, "A\nb\nC\n".to_owned())));
}

#[tokio::test]
async fn an_older_text_comes_back_as_a_new_revision() {
    let store = Fixture::new();
    store.create("a\n").await.expect("made");
    store.edit(1, "b\n").await.expect("taken");
    let back = store.documents.revert(&name(), 1, Condition::Any, by("c", None)).await;
    let back = back.expect("taken").revision;
    assert_eq!((back.revision, back.base, back.kind), (3, Some(1), Kind::Revert));
    assert_eq!(back.summary, "back to revision 1");
    assert_eq!(store.newest(), Some((3, "a\n".to_owned())));
}

#[tokio::test]
async fn texts_are_held_to_what_the_document_is() {
    let store = Fixture::new();
    let put = async |text: &'static [u8], media_type| {
        let name = "bytes".parse().expect("a name");
        store.documents.put(&name, text.into(), media_type, Condition::Any, by("a", None)).await
    };
    let wrong = put(b"a\xff", Some(MediaType::HTML)).await;
    assert_eq!(wrong, Err(Error::NotUtf8(1)));
    assert_eq!(number(put(b"\xff\x00", None).await), 1);
    assert_eq!(
        put(b"x", Some(MediaType::HTML)).await,
        Err(Error::OtherMediaType("application/octet-stream"))
    );
    assert_eq!(number(put(b"\xff\x01", None).await), 2);
    let name: Name = "bytes".parse().expect("a name");
    let edit = store.documents.edit(&name, 1, Bytes::from_static(b"\xff\x02"), by("a", None)).await;
    let Err(Error::Conflict(conflict)) = edit else { panic!("{edit:?}") };
    assert_eq!((conflict.base.text, conflict.yours), (None, None));
    let large = Bytes::from(vec![b'x'; (4 << 20) + 1]);
    let large = store.documents.edit(&name, 2, large, by("a", None)).await;
    assert_eq!(large, Err(Error::TooLarge(4 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_change_different_paragraphs_are_all_merged() {
    let store = Arc::new(Fixture::new());
    let paragraphs: Vec<String> = (0..50).map(|n| format!("<p>paragraph {n}</p>\n")).collect();
    store.create(&paragraphs.concat()).await.expect("made");
    let edits = (0..50).map(|n| {
        let (store, mut paragraphs) = (Arc::clone(&store), paragraphs.clone());
        paragraphs[n] = format!("<p>changed by {n}</p>\n");
        tokio::spawn(async move { store.edit(1, &paragraphs.concat()).await })
    });
    let edits: Vec<_> = edits.collect();
    let mut numbers = Vec::new();
    for edit in edits {
        numbers.push(number(edit.await.expect("ends")));
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(2..=51));
    let changed: String = (0..50).map(|n| format!("<p>changed by {n}</p>\n")).collect();
    assert_eq!(store.newest(), Some((51, changed)));
}

#[tokio::test]
async fn a_revision_is_compressed_once_and_unpacks_to_itself() {
    let store = Fixture::new();
    let long = "the same line over and over\n".repeat(100);
    store.create(&long).await.expect("made");
    let current = store.documents.get("page").expect("is there");
    let zstd = current.zstd().expect("is worth it");
    assert_eq!(zstd.etag, "\"1-zstd\"");
    assert_eq!(zstd::bulk::decompress(&zstd.bytes, 10_000).expect("unpacks"), long.as_bytes());
    let gzip = current.gzip().expect("is worth it");
    assert_eq!((&gzip.etag[..], &current.plain.etag[..]), (&b"\"1-gzip\""[..], &b"\"1\""[..]));
    let mut unpacked = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&gzip.bytes[..]),
        &mut unpacked,
    )
    .expect("unpacks");
    assert_eq!(unpacked, long);
}
