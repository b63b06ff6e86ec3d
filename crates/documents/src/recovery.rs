//! What becomes of a document when it is read from the disk: what a crash has cut off is finished,
//! what a hand has changed meanwhile becomes a revision.

use bytes::Bytes;

use crate::document::{Document, Job};
use crate::record::{self, Head};
use crate::turn::Newest;
use crate::writer::{SwappedOut, Writer};
use crate::{Error, Kind, MediaType};

/// Takes in the last record of the history, and the file.
pub(crate) fn recover(
    writer: &mut Writer,
    document: &Document,
    last: Option<(Head, Bytes)>,
) -> Result<(), Error> {
    let Some((head, packed)) = last else {
        return take_in_by_hand(writer, document);
    };
    if head.revision.kind == Kind::Delete {
        finish_deletion(document, &head)?;
        return take_in_by_hand(writer, document);
    }
    let newest = newest(document, &head, packed)?;
    writer.newest = Some(newest.clone());
    writer.in_file = Some(head.revision.revision);
    if is_cut_off(document, &head, &newest)? {
        tracing::info!(document = %document.name, "finishing a write that was cut off");
        writer.install(document, &newest.text, newest.media_type, None)?;
    }
    writer.publish(document);
    take_in_swapped_out(writer, document, head.in_file)?;
    take_in_by_hand(writer, document)
}

/// What lies beside a file that is as it should be was its content before. If it is no revision, it
/// was changed by hand in the moment before the crash.
fn take_in_swapped_out(
    writer: &mut Writer,
    document: &Document,
    base: Option<u64>,
) -> Result<(), Error> {
    let beside = document.beside();
    let disk = &document.shared.disk;
    let text = disk.read(&beside, document.shared.limits.document_bytes);
    let (Ok(text), Some(newest)) = (text, writer.newest.clone()) else { return Ok(()) };
    let text = Bytes::from(text);
    let file = document.file(newest.media_type);
    let file = disk.read(&file, document.shared.limits.document_bytes).unwrap_or_default();
    let before = base.and_then(|base| document.log.read(base)).map(|(_, text)| text);
    let is_known = before.as_ref() == Some(&text) || newest.text == text || text.is_empty();
    if file == newest.text && !is_known {
        return writer.take_swapped_out(document, Some(SwappedOut { text, base }));
    }
    let failed = |error| Error::io(format!("remove {}", beside.display()), &error);
    disk.remove(&beside).map_err(failed)
}

fn newest(document: &Document, head: &Head, packed: Bytes) -> Result<Newest, Error> {
    let damaged = |reason: &str| Error::Other {
        doing: format!("read the history of the document {}", document.name),
        reason: reason.to_owned(),
    };
    let text = record::unpack(head, &packed).ok_or_else(|| damaged("the last text is damaged"))?;
    let media_type = MediaType::parse(&head.revision.media_type)
        .ok_or_else(|| damaged("its media type is not known"))?;
    let zstd = head.zstd.then_some(packed);
    Ok(Newest { revision: head.revision.clone().into(), media_type, text: text.into(), zstd })
}

/// Whether the file is still what it was before the newest revision: the revision is synced first,
/// so that is what a crash between the two leaves. A file with that text that was changed after the
/// revision was written is a change by hand, back to what it was.
fn is_cut_off(document: &Document, head: &Head, newest: &Newest) -> Result<bool, Error> {
    let path = document.file(newest.media_type);
    let failed = |error| Error::io(format!("look at {}", path.display()), &error);
    let disk = &document.shared.disk;
    let Some(stamp) = disk.stamp(&path).map_err(failed)? else { return Ok(true) };
    let is_older = stamp.modified_ns <= i128::from(head.revision.time_ms + 1) * 1_000_000;
    if !is_older || !stamp.is_file {
        return Ok(false);
    }
    let Ok(found) = disk.read(&path, document.shared.limits.document_bytes) else {
        return Ok(false);
    };
    let before = head.in_file.and_then(|revision| document.log.read(revision));
    Ok(before.is_some_and(|(_, text)| text == found && text != newest.text))
}

/// The file of a deleted document, if it is older than the deletion.
fn finish_deletion(document: &Document, head: &Head) -> Result<(), Error> {
    let Some(media_type) = MediaType::parse(&head.revision.media_type) else { return Ok(()) };
    let path = document.file(media_type);
    let failed = |error| Error::io(format!("remove {}", path.display()), &error);
    let disk = &document.shared.disk;
    let stamp = disk.stamp(&path).map_err(failed)?;
    if stamp.is_some_and(|it| it.modified_ns <= i128::from(head.revision.time_ms + 1) * 1_000_000) {
        disk.remove(&path).map_err(failed)?;
    }
    document.log.forget_before(head.revision.revision);
    Ok(())
}

fn take_in_by_hand(writer: &mut Writer, document: &Document) -> Result<(), Error> {
    writer.work(document, vec![Job::Look(MediaType::HTML)]);
    Ok(())
}
