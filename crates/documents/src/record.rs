//! A revision as it is kept: a head in JSON that says what it is, and its text, compressed where that
//! saves something. A sum over both tells a whole record from half a one.

use serde::{Deserialize, Serialize};

use crate::{Key, Revision};

/// Before every record.
const MAGIC: [u8; 4] = *b"RVN1";
/// The magic, the lengths of head and text, and the sum.
const PREFIX_BYTES: usize = 16;
/// No head is longer; a record that says so is none.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// No text is longer as it is kept.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// What a record says of its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    #[serde(flatten)]
    pub(crate) revision: Revision,
    /// The revision that the file held when this was written: what is found there after a crash, if
    /// it is not this one.
    pub(crate) in_file: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Key>,
    /// Whether the text is compressed.
    pub(crate) zstd: bool,
}

/// The first bytes of a record, among which its head is in any case.
pub(crate) const HEAD_WITHIN_BYTES: usize = PREFIX_BYTES + HEAD_BYTES_MAX;

/// Writes a record.
pub(crate) fn encode(head: &Head, text: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(head).expect("texts and numbers have a JSON form");
    let mut record = Vec::with_capacity(PREFIX_BYTES + head.len() + text.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&length(head.len()));
    record.extend_from_slice(&length(text.len()));
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&head);
    record.extend_from_slice(text);
    let sum = sum(&record);
    record[12..PREFIX_BYTES].copy_from_slice(&sum.to_le_bytes());
    record
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("heads and texts are bounded").to_le_bytes()
}

/// Over everything but itself.
fn sum(record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&record[..12]);
    sum.update(&record[PREFIX_BYTES..]);
    sum.finalize()
}

/// Reads the record at the front; the rest follows it. `None` if there is no whole one.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Head, &[u8], usize)> {
    let prefix = bytes.get(..PREFIX_BYTES)?;
    let number = |at: usize| Some(u32::from_le_bytes(prefix.get(at..at + 4)?.try_into().ok()?));
    let (head, text) = (number(4)? as usize, number(8)? as usize);
    if prefix[..4] != MAGIC || head > HEAD_BYTES_MAX || text > TEXT_BYTES_MAX {
        return None;
    }
    let record = bytes.get(..PREFIX_BYTES + head + text)?;
    if sum(record) != number(12)? {
        return None;
    }
    let (head, text) = record[PREFIX_BYTES..].split_at(head);
    Some((serde_json::from_slice(head).ok()?, text, record.len()))
}

/// Reads the head of the record at the front, of which the rest need not be there. That it is whole
/// is not checked.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<Head> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    if bytes[..4] != MAGIC || length > HEAD_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(bytes.get(PREFIX_BYTES..PREFIX_BYTES + length)?).ok()
}

/// The text of a record as it was accepted.
pub(crate) fn unpack(head: &Head, text: &[u8]) -> Option<Vec<u8>> {
    let bytes = usize::try_from(head.revision.bytes).ok().filter(|it| *it <= TEXT_BYTES_MAX)?;
    let text = if head.zstd { zstd::bulk::decompress(text, bytes).ok()? } else { text.to_vec() };
    (text.len() == bytes).then_some(text)
}

/// Whether a whole record stands anywhere among the bytes: then what stands before it is no torn end.
pub(crate) fn has_record(bytes: &[u8]) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, it)| **it == MAGIC);
    starts.into_iter().any(|(at, _)| decode(&bytes[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Revision};

    fn head() -> Head {
        let revision = Revision {
            revision: 2,
            parent: Some(1),
            base: None,
            kind: Kind::Edit,
            author: "Zoë".to_owned(),
            verified: false,
            summary: String::new(),
            time_ms: 1_700_000_000_000,
            merged: false,
            bytes: 5,
            media_type: "text/html".to_owned(),
        };
        let key = Some(Key { key: "k".to_owned(), fingerprint: [7; 32] });
        Head { revision, in_file: Some(1), key, zstd: false }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut bytes = encode(&head(), b"hello");
        let whole = bytes.len();
        bytes.extend_from_slice(b"more");
        let (read, text, length) = decode(&bytes).expect("is whole");
        assert_eq!((read, text, length), (head(), &b"hello"[..], whole));
        assert_eq!(decode_head(&bytes[..whole - b"hello".len()]), Some(head()));
        assert_eq!(decode_head(&bytes[..PREFIX_BYTES + 9]), None);
    }

    #[test]
    fn half_a_record_and_a_changed_one_are_none() {
        let bytes = encode(&head(), b"hello");
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode(&changed).is_none(), "{at}");
        }
        assert!(has_record(&[b"xxRV", bytes.as_slice()].concat()));
        assert!(!has_record(&bytes[..bytes.len() - 1]));
    }
}
