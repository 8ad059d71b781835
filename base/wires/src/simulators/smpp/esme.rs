//! One link to a centre, from the bind on.

use super::centre::{Centre, now};
use super::parts::{Taken, hex, text};
use super::receipts::{Awaited, send};
use crate::simulators::{Arrival, Behaviour, Refusal};
use crate::smpp::codec::{MOST_PDU, decode, encode, take};
use crate::smpp::pdu::{Bind, Body, Message, Mode, Pdu, State, status};
use crate::smpp::session::{Heard, Limits, Reader, Requests, Session, Writer};
use crate::smpp::tlv::{SC_INTERFACE_VERSION, Tlvs, USER_MESSAGE_REFERENCE};
use crate::smpp::{Address, Part};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

/// Receipts on their way over one link.
const WINDOW: usize = 64;

struct Esme {
    centre: Arc<Centre>,
    session: Arc<Session>,
    account: String,
    mode: Mode,
    /// Messages without an answer.
    waiting: Arc<AtomicUsize>,
}

pub(super) async fn serve(centre: Arc<Centre>, mut reader: Reader, mut writer: Writer) {
    let limit = centre.settings.answer_limit;
    let bound = timeout(limit, bind(&centre, &mut reader, &mut writer));
    let bound = tokio::select! {
        biased;
        () = centre.stopped() => return,
        bound = bound => bound,
    };
    let Ok(Some((bind, read))) = bound else { return };
    let (session, queue) = Session::new(WINDOW);
    let (account, mode, waiting) = (bind.system_id, bind.mode, Arc::default());
    centre.join(&account, mode, &session);
    let esme = Esme { centre: Arc::clone(&centre), session: Arc::clone(&session), account, mode, waiting };
    let limits = Limits { answer: limit, enquire_link: centre.settings.enquire_link, most_pdu: MOST_PDU };
    let farewell = async {
        centre.stopped().await;
        let _ = session.ask(Body::Unbind, limit.min(Duration::from_secs(1))).await;
        "stopped".to_owned()
    };
    let why = tokio::select! {
        biased;
        why = session.run((reader, writer), (queue, read), limits, &esme) => why,
        why = farewell => why,
    };
    centre.leave(&session);
    session.end(&why);
}

/// Waits for a bind and answers it; what was read beyond it.
async fn bind(centre: &Centre, reader: &mut Reader, writer: &mut Writer) -> Option<(Bind, BytesMut)> {
    let mut read = BytesMut::new();
    loop {
        while let Some(frame) = take(&mut read, MOST_PDU).ok()? {
            let (sequence, pdu) = (frame.sequence, decode(frame));
            let (status, body, bound) = match pdu {
                Err(_) => (status::INVALID_COMMAND_LENGTH, Body::GenericNack, None),
                Ok(Pdu { body: Body::Bind(bind), .. }) => {
                    let (status, body) = admit(centre, &bind);
                    (status, body, (status == status::OK).then_some(bind))
                }
                Ok(Pdu { body: Body::EnquireLink, .. }) => (status::OK, Body::EnquireLinkResp, None),
                Ok(_) => (status::INVALID_BIND_STATE, Body::GenericNack, None),
            };
            let refused = bound.is_none() && status != status::OK;
            let mut answer = BytesMut::new();
            encode(&Pdu { status, sequence, body }, &mut answer).ok()?;
            writer.write_all(&answer).await.ok()?;
            writer.flush().await.ok()?;
            if let Some(bind) = bound {
                return Some((bind, read));
            }
            if refused {
                let _ = writer.shutdown().await;
                return None;
            }
        }
        if reader.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn admit(centre: &Centre, bind: &Bind) -> (u32, Body) {
    let accounts = &centre.settings.accounts;
    let known = accounts.iter().find(|(name, _)| *name == bind.system_id);
    let status = match known {
        _ if accounts.is_empty() => status::OK,
        Some((_, password)) if *password == bind.password => status::OK,
        Some(_) => status::INVALID_PASSWORD,
        None => status::INVALID_SYSTEM_ID,
    };
    let mut tlvs = Tlvs::default();
    tlvs.push_u8(SC_INTERFACE_VERSION, 0x34);
    let system_id = (status == status::OK).then(|| "artel".to_owned());
    (status, Body::BindResp { mode: bind.mode, system_id, tlvs })
}

impl Requests for Esme {
    async fn heard(&self, session: &Session, pdu: Pdu) -> Heard {
        let sequence = pdu.sequence;
        let (status, body) = match pdu.body {
            Body::SubmitSm(message) if self.mode.sends() => return self.submit(sequence, *message).await,
            Body::SubmitSm(_) => (status::INVALID_BIND_STATE, Body::SubmitSmResp { message_id: None }),
            Body::QuerySm { message_id, .. } => self.query(message_id),
            Body::Bind(Bind { mode, .. }) => {
                (status::ALREADY_BOUND, Body::BindResp { mode, system_id: None, tlvs: Tlvs::default() })
            }
            _ => return Heard::Unknown,
        };
        session.answer(status, sequence, body).await;
        Heard::More
    }
}

impl Esme {
    fn query(&self, message_id: String) -> (u32, Body) {
        let known = self.centre.number_of(&message_id).and_then(|number| self.centre.get(number));
        match known {
            None => (status::QUERY_FAILED, Body::QuerySmResp(None)),
            Some((state, error_code)) => {
                let state = State { message_id, final_date: String::new(), state, error_code };
                (status::OK, Body::QuerySmResp(Some(state)))
            }
        }
    }

    async fn submit(&self, sequence: u32, message: Message) -> Heard {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let (part, octets) = Part::read(&message);
        let mut arrival = self.arrival(&message, part, &octets);
        let mut behaviour = (self.centre.judge)(&arrival);
        if waiting > self.centre.settings.window {
            behaviour.refusal = Some(Refusal::Smpp { status: status::THROTTLED });
        }
        let status = match behaviour.refusal {
            None => status::OK,
            Some(Refusal::Smpp { status }) => status,
            Some(_) => status::SYSTEM_ERROR,
        };
        arrival.taken = status == status::OK;
        arrival.answer = if behaviour.lose_reply { "no answer".to_owned() } else { format!("{status:#04x}") };
        let number = arrival.taken.then(|| self.centre.number());
        let message_id = number.map(|number| self.centre.answered(number));
        arrival.reference = message_id.clone().unwrap_or_default();
        self.centre.count(|counts| {
            counts.parts += 1;
            counts.parts_taken += u64::from(status == status::OK);
            counts.most_waiting = counts.most_waiting.max(waiting);
        });
        let part = part.filter(|_| arrival.taken);
        self.centre.take(arrival, part.map(|part| Taken { part, data_coding: message.data_coding, octets }));
        let awaited = number.map(|number| self.awaited(number, &message));
        let answer = Pdu { status, sequence, body: Body::SubmitSmResp { message_id } };
        self.answer(answer, awaited, behaviour).await
    }

    async fn answer(&self, answer: Pdu, awaited: Option<Awaited>, behaviour: Behaviour) -> Heard {
        let Behaviour { delay, lose_reply, receipts, .. } = behaviour;
        let (centre, session, waiting) =
            (Arc::clone(&self.centre), Arc::clone(&self.session), Arc::clone(&self.waiting));
        let begin = move |centre: &Arc<Centre>| {
            if let Some(awaited) = awaited.filter(|_| !receipts.is_empty()) {
                centre.spawn(send(Arc::clone(centre), awaited, receipts, Instant::now()));
            }
        };
        if delay.is_zero() && !lose_reply {
            session.answer(answer.status, answer.sequence, answer.body).await;
            waiting.fetch_sub(1, Ordering::Relaxed);
            begin(&centre);
            return Heard::More;
        }
        let work = async move {
            sleep(delay).await;
            match lose_reply {
                true => session.hang_up().await,
                false => session.answer(answer.status, answer.sequence, answer.body).await,
            }
            waiting.fetch_sub(1, Ordering::Relaxed);
            begin(&centre);
        };
        if delay.is_zero() {
            work.await;
            // What comes after a lost answer is not read: the writer ends the link.
            return std::future::pending().await;
        }
        self.centre.spawn(work);
        Heard::More
    }

    fn awaited(&self, number: u64, message: &Message) -> Awaited {
        Awaited {
            account: self.account.clone(),
            number,
            from: message.source.clone(),
            to: message.destination.clone(),
            registered: message.registered_delivery,
            user_reference: message.tlvs.u16(USER_MESSAGE_REFERENCE),
            began: now(),
        }
    }

    fn arrival(&self, message: &Message, part: Option<Part>, octets: &[u8]) -> Arrival {
        let number = |address: &Address| match address.ton {
            1 => format!("+{}", address.digits),
            _ => address.digits.clone(),
        };
        let user = message.tlvs.u16(USER_MESSAGE_REFERENCE);
        let key = user.or_else(|| part.map(|part| part.reference.number()));
        let coding = message.data_coding;
        Arrival {
            provider: "smpp",
            account: self.account.clone(),
            to: number(&message.destination),
            key: key.map_or_else(String::new, |key| key.to_string()),
            // A short message has no title: its sender stands there.
            title: number(&message.source),
            text: text(coding, octets, self.centre.settings.gsm),
            raw: format!(
                "esm_class={:#04x} data_coding={coding:#04x} registered_delivery={:#04x} {}",
                message.esm_class,
                message.registered_delivery,
                hex(&message.octets()),
            ),
            ..Arrival::default()
        }
    }
}
