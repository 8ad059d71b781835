//! Files that go with mails: decoded when they are given, stored once, and in memory while mails that carry them are under way.

use super::content::AttachedSet;
use crate::NotifySettings;
use crate::channels::Files;
use crate::store::attachments;
use crate::store::deliveries::New;
use artel_contract::notify::DeliveryId;
use artel_contract::notify::attachments::{Attached, Attachment};
use artel_flow::{Ctx, Tx};
use artel_message::Fault;
use artel_wires::mail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// A file as it was given.
#[derive(Clone)]
pub struct File {
    about: Attached,
    content: Bytes,
}

/// Decodes and checks them; the fault names the field.
pub fn decoded(given: Vec<Attachment>) -> Result<Vec<File>, Fault> {
    let one = |(at, given): (usize, Attachment)| {
        let bad =
            |field: &str, reason: String| Fault::field(&format!("content.attachments[{at}].{field}"), reason);
        let Attachment { name, media_type, base64 } = given;
        mail::Attachment::check_name(&name).map_err(|reason| bad("name", reason))?;
        mail::Attachment::check_kind(&media_type).map_err(|reason| bad("media_type", reason))?;
        let content = STANDARD.decode(base64.unwrap_or_default());
        let content = content.map_err(|error| bad("base64", error.to_string().to_lowercase()))?;
        let bytes = content.len() as u64;
        Ok(File { about: Attached { name, media_type, bytes }, content: content.into() })
    };
    given.into_iter().enumerate().map(one).collect()
}

/// The set that these become; `None` where there are none.
pub fn set(tx: &mut Tx, files: &[File]) -> Option<AttachedSet> {
    let about = || files.iter().map(|file| file.about.clone()).collect();
    (!files.is_empty()).then(|| AttachedSet { id: tx.new_id(), files: about() })
}

/// Stores what those of these deliveries carry that are new.
pub async fn keep(
    tx: &mut Tx,
    new: &[New],
    inserted: &BTreeSet<DeliveryId>,
    files: &[File],
) -> Result<(), Fault> {
    let carries = new.iter().filter(|new| inserted.contains(&new.id));
    let carries = carries.filter_map(|new| Some((new.id, new.content.attachments.as_ref()?.id)));
    let (ids, sets): (Vec<DeliveryId>, Vec<Uuid>) = carries.unzip();
    let Some(set) = sets.first() else { return Ok(()) };
    let contents: Vec<Bytes> = files.iter().map(|file| file.content.clone()).collect();
    Ok(attachments::insert(tx, *set, &contents, &ids).await?)
}

/// The sets that are in memory. Mails with the same one share it.
#[derive(Default)]
pub struct Loading {
    /// In KiB.
    room: OnceLock<Arc<Semaphore>>,
    sets: Mutex<HashMap<Uuid, Weak<Files>>>,
}

impl Loading {
    /// The files of a set, once there is room for them.
    pub async fn get(&self, ctx: &Ctx, set: &AttachedSet) -> Result<Arc<Files>, Fault> {
        if let Some(loaded) = self.there(set.id) {
            return Ok(loaded);
        }
        let settings = ctx.settings::<NotifySettings>();
        let most = settings.attachments_mib.saturating_mul(1_024);
        let room = self.room.get_or_init(|| Arc::new(Semaphore::new(most as usize))).clone();
        let bytes: u64 = set.files.iter().map(|file| file.bytes).sum();
        let wanted = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(most).min(most);
        let room = tokio::time::timeout(settings.call(), room.acquire_many_owned(wanted)).await;
        let Ok(Ok(room)) = room else {
            let reason = "there is no room for its attachments in memory (notify.attachments_mib)";
            return Err(Fault::unavailable(reason));
        };
        // Whoever waited may find it loaded by somebody else.
        if let Some(loaded) = self.there(set.id) {
            return Ok(loaded);
        }
        let contents = attachments::read(&ctx.read().await?, set.id).await?;
        if contents.len() != set.files.len() {
            return Err(Fault::invalid("its attachments are deleted"));
        }
        let file = |(about, bytes): (&Attached, Bytes)| mail::Attachment {
            name: about.name.clone(),
            kind: about.media_type.clone(),
            bytes,
        };
        let files = set.files.iter().zip(contents).map(file).collect();
        let loaded = Arc::new(Files { files, _room: room });
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|_, kept| kept.strong_count() > 0);
        sets.insert(set.id, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    fn there(&self, set: Uuid) -> Option<Arc<Files>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(&set)?.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_t_be_attached_is_refused_and_the_field_is_named() {
        let one = |name: &str, kind: &str, text: &str| Attachment {
            name: name.to_owned(),
            media_type: kind.to_owned(),
            base64: Some(text.to_owned()),
        };
        let good = || one("Накладная.pdf", "application/pdf", "JVBERi0=");
        let files = decoded(vec![good(), one("empty", "text/plain", "")]).unwrap_or_default();
        let seen: Vec<(u64, &[u8])> =
            files.iter().map(|file| (file.about.bytes, &file.content[..])).collect();
        assert_eq!(seen, [(5, &b"%PDF-"[..]), (0, &b""[..])]);
        for (bad, field) in [
            (one("a/b.pdf", "application/pdf", ""), "name: is empty, or names a folder"),
            (one("", "application/pdf", ""), "name: is empty"),
            (one("a\r\nBcc: b", "application/pdf", ""), "name: holds the end of a line"),
            (one("a", "pdf", ""), "media_type: is no type such as application/pdf"),
            (one("a", "multipart/mixed", ""), "media_type: "),
            (one("a", "a/b", "JVB"), "base64: "),
            (one("a", "a/b", "JV*E"), "base64: invalid symbol 42, offset 2"),
        ] {
            let Err(fault) = decoded(vec![good(), bad]) else { panic!("{field}") };
            let wanted = format!("content.attachments[1].{field}");
            assert!(fault.reason.starts_with(&wanted), "{fault} is not {wanted}");
        }
    }
}
