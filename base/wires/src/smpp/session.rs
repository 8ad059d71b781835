//! One bound link: requests and their answers.
//!
//! What is known of a request that was not answered hangs on one fact, whether the writer has taken it up. The writer asks for each
//! request whether somebody still waits for it, and marks it in the same breath; whoever gives up looks at that mark.

use super::codec::{Frame, Unfit, decode, encode, take};
use super::pdu::{Body, LAST_SEQUENCE, Pdu, RESPONSE, status};
use crate::said::Stage;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// PDUs that wait to be written.
const QUEUE: usize = 256;
/// Octets that are written at once.
const PIECE: usize = 16 << 10;

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{text}")]
    Broken { stage: Stage, text: String },
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

pub(crate) struct Session {
    /// A place for each message on its way; closed with the link.
    pub(crate) window: Arc<Semaphore>,
    out: mpsc::Sender<Out>,
    state: Mutex<State>,
}

struct State {
    last: u32,
    waiting: HashMap<u32, Waiting>,
    heard: Instant,
    /// The centre said goodbye: it answers nothing new.
    left: bool,
    /// Why the link is no more.
    ended: Option<String>,
}

struct Waiting {
    /// The command of its answer.
    answer: u32,
    /// Octets of it may have left.
    written: bool,
    done: oneshot::Sender<Result<Pdu, NoAnswer>>,
}

enum Out {
    Request(u32, Bytes),
    Answer(Bytes),
    /// Nothing more is written.
    Hangup,
}

/// Whoever waits for an answer. Dropped, nobody waits any more, and what is not written never is.
struct Asked<'a> {
    session: &'a Session,
    sequence: u32,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.session.state().waiting.remove(&self.sequence);
    }
}

/// What a session does with requests that it does not answer itself.
pub(crate) trait Requests: Sync {
    fn heard(&self, session: &Session, pdu: Pdu) -> impl Future<Output = Heard> + Send;
}

/// How it goes on after a request.
pub(crate) enum Heard {
    More,
    /// Nobody knows this command.
    Unknown,
    /// The other side says goodbye.
    Last,
    End(&'static str),
}

/// What bounds a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) answer: Duration,
    pub(crate) enquire_link: Duration,
    pub(crate) most_pdu: usize,
}

fn octets(pdu: &Pdu) -> Option<Out> {
    let mut octets = BytesMut::new();
    encode(pdu, &mut octets).ok().map(|()| Out::Answer(octets.freeze()))
}

impl Session {
    /// The session, and what its writer reads.
    pub(crate) fn new(window: usize) -> (Arc<Session>, Queue) {
        let (out, queue) = mpsc::channel(QUEUE);
        let heard = Instant::now();
        let state = State { last: 0, waiting: HashMap::new(), heard, left: false, ended: None };
        let window = Arc::new(Semaphore::new(window.clamp(1, Semaphore::MAX_PERMITS)));
        (Arc::new(Session { window, out, state: Mutex::new(state) }), Queue(queue))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, body: Body, limit: Duration) -> Result<Pdu, NoAnswer> {
        let deadline = Instant::now() + limit;
        let answer = body.command() | RESPONSE;
        let (done, mut wait) = oneshot::channel();
        let sequence = self.state().next();
        let mut octets = BytesMut::new();
        encode(&body.with(sequence), &mut octets)?;
        let asked = self.wait_for(sequence, Waiting { answer, written: false, done })?;
        let request = self.out.send(Out::Request(sequence, octets.freeze()));
        let answered = async {
            // An error means that the link has ended, which `wait` hears of too.
            let _ = request.await;
            (&mut wait).await
        };
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(broken(Stage::After, "the link ended")),
            Err(_) => {
                let given_up = asked.given_up();
                // It may have come in this very moment.
                wait.try_recv().unwrap_or(Err(given_up))
            }
        }
    }

    fn wait_for(&self, sequence: u32, waiting: Waiting) -> Result<Asked<'_>, NoAnswer> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(broken(Stage::Before, why));
        }
        if state.left {
            return Err(broken(Stage::Before, "the centre has unbound"));
        }
        state.waiting.insert(sequence, waiting);
        Ok(Asked { session: self, sequence })
    }

    /// No more messages: who waits for a place goes to another link.
    pub(crate) fn close(&self) {
        self.window.close();
    }

    /// Waits until all messages on their way are answered or given up.
    pub(crate) async fn idle(&self, window: usize) {
        let all = u32::try_from(window.max(1)).unwrap_or(u32::MAX);
        let _ = self.window.acquire_many(all).await;
    }

    /// Tells everybody who waits.
    pub(crate) fn end(&self, why: &str) {
        self.close();
        let waiting = {
            let mut state = self.state();
            state.ended = Some(why.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            let stage = if waiting.written { Stage::After } else { Stage::Before };
            let _ = waiting.done.send(Err(broken(stage, why)));
        }
    }

    /// Works until the link ends, and says why.
    pub(crate) async fn run(
        &self,
        (reader, writer): (Reader, Writer),
        (queue, read): (Queue, BytesMut),
        limits: Limits,
        requests: &impl Requests,
    ) -> String {
        tokio::select! {
            biased;
            why = self.read(reader, read, limits, requests) => why,
            why = self.write(writer, queue, limits.answer) => why,
            why = self.watch(limits) => why,
        }
    }

    async fn write(&self, mut writer: Writer, queue: Queue, limit: Duration) -> String {
        let Queue(mut queue) = queue;
        let mut octets = BytesMut::new();
        while let Some(first) = queue.recv().await {
            let hangup = self.state().collect(first, &mut queue, &mut octets);
            let written = async {
                writer.write_all(&octets).await?;
                writer.flush().await
            };
            match timeout(limit, written).await {
                Ok(Ok(())) if hangup => break,
                Ok(Ok(())) => octets.clear(),
                Ok(Err(error)) => return format!("can't write: {}", error.kind()),
                Err(_) => return "can't write: the time is over".to_owned(),
            }
        }
        "closed".to_owned()
    }

    /// Asks whether the other side is there when it has been silent.
    async fn watch(&self, limits: Limits) -> String {
        let interval = limits.enquire_link.max(Duration::from_millis(1));
        loop {
            let due = self.state().heard + interval;
            if due > Instant::now() {
                sleep_until(due).await;
            } else if let Err(error) = self.ask(Body::EnquireLink, limits.answer).await {
                return format!("enquire_link: {error}");
            }
        }
    }

    async fn read(
        &self,
        mut reader: Reader,
        mut read: BytesMut,
        limits: Limits,
        requests: &impl Requests,
    ) -> String {
        let mut last = None;
        loop {
            loop {
                let taken = take(&mut read, limits.most_pdu);
                let frame = match taken {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(bad) => {
                        self.answer(status::INVALID_COMMAND_LENGTH, 0, Body::GenericNack).await;
                        return bad.to_string();
                    }
                };
                match self.heard(frame, requests).await {
                    Heard::More | Heard::Unknown => {}
                    Heard::Last => last = Some(Instant::now() + limits.answer),
                    Heard::End(why) => return why.to_owned(),
                }
            }
            read.reserve(16 << 10);
            let got = match last {
                None => reader.read_buf(&mut read).await,
                // The centre has said goodbye: what it still has to say comes soon.
                Some(last) => match timeout_at(last, reader.read_buf(&mut read)).await {
                    Ok(got) => got,
                    Err(_) => return "the centre has unbound".to_owned(),
                },
            };
            match got {
                Ok(0) => return "closed by the centre".to_owned(),
                Ok(_) => self.state().heard = Instant::now(),
                Err(error) => return format!("can't read: {}", error.kind()),
            }
        }
    }

    async fn heard(&self, frame: Frame, requests: &impl Requests) -> Heard {
        let (command, sequence) = (frame.command, frame.sequence);
        if frame.is_response() {
            return self.answered(frame);
        }
        let pdu = match decode(frame) {
            Ok(pdu) => pdu,
            Err(bad) => {
                tracing::debug!(%bad, "a request that can't be read");
                self.answer(status::INVALID_COMMAND_LENGTH, sequence, Body::GenericNack).await;
                return Heard::More;
            }
        };
        match pdu.body {
            Body::EnquireLink => self.answer(status::OK, sequence, Body::EnquireLinkResp).await,
            Body::Unbind => {
                self.state().left = true;
                self.close();
                self.answer(status::OK, sequence, Body::UnbindResp).await;
                return Heard::Last;
            }
            _ => match requests.heard(self, pdu).await {
                Heard::Unknown => {
                    tracing::debug!(command, "a command that is not known");
                    self.answer(status::INVALID_COMMAND, sequence, Body::GenericNack).await;
                }
                heard => return heard,
            },
        }
        Heard::More
    }

    fn answered(&self, frame: Frame) -> Heard {
        let (command, sequence) = (frame.command, frame.sequence);
        // The centre could not tell where a PDU of ours begins.
        if command == RESPONSE && sequence == 0 {
            return Heard::End("the centre has lost its place");
        }
        let mut state = self.state();
        let fits = |waiting: &Waiting| command == waiting.answer || command == RESPONSE;
        if state.waiting.get(&sequence).is_some_and(fits)
            && let Some(waiting) = state.waiting.remove(&sequence)
        {
            let pdu = decode(frame).map_err(|error| broken(Stage::After, &error.to_string()));
            let _ = waiting.done.send(pdu);
        }
        Heard::More
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, status: u32, sequence: u32, body: Body) {
        if let Some(answer) = octets(&Pdu { status, sequence, body }) {
            let _ = self.out.send(answer).await;
        }
    }

    /// Writes what waits to be written, then ends the link without a word.
    pub(crate) async fn hang_up(&self) {
        let _ = self.out.send(Out::Hangup).await;
    }

    /// To answer from anywhere, also where nobody can wait.
    pub(crate) fn answers(&self) -> Answers {
        Answers(self.out.clone())
    }
}

/// The way to the writer of a session.
pub(crate) struct Answers(mpsc::Sender<Out>);

impl Answers {
    /// Waits for room; with the link gone nothing happens.
    pub(crate) async fn send(self, pdu: &Pdu) {
        if let Some(answer) = octets(pdu) {
            let _ = self.0.send(answer).await;
        }
    }

    /// Gives up where there is no room at once.
    pub(crate) fn try_send(self, pdu: &Pdu) {
        let _ = octets(pdu).map(|answer| self.0.try_send(answer));
    }
}

pub(crate) struct Queue(mpsc::Receiver<Out>);

impl State {
    /// The next number that nobody waits for.
    fn next(&mut self) -> u32 {
        loop {
            self.last = if self.last >= LAST_SEQUENCE { 1 } else { self.last + 1 };
            if !self.waiting.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// Moves what is still wanted to what is written next, as much as goes in one piece; true when nothing is to be written after it.
    fn collect(&mut self, first: Out, queue: &mut mpsc::Receiver<Out>, octets: &mut BytesMut) -> bool {
        let mut next = Some(first);
        while let Some(out) = next {
            match out {
                Out::Hangup => return true,
                Out::Answer(pdu) => octets.extend_from_slice(&pdu),
                Out::Request(sequence, pdu) => {
                    if let Some(waiting) = self.waiting.get_mut(&sequence) {
                        waiting.written = true;
                        octets.extend_from_slice(&pdu);
                    }
                }
            }
            next = if octets.len() < PIECE { queue.try_recv().ok() } else { None };
        }
        false
    }
}

impl Asked<'_> {
    /// The time is over.
    fn given_up(self) -> NoAnswer {
        let waiting = self.session.state().waiting.remove(&self.sequence);
        match waiting.is_some_and(|waiting| !waiting.written) {
            true => broken(Stage::Before, "the time was over before it was written"),
            false => broken(Stage::After, "no answer in time"),
        }
    }
}

fn broken(stage: Stage, text: &str) -> NoAnswer {
    NoAnswer::Broken { stage, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::pdu::Message;
    use super::*;
    use std::time::Duration;

    struct Nothing;

    impl Requests for Nothing {
        async fn heard(&self, _: &Session, _: Pdu) -> Heard {
            Heard::Unknown
        }
    }

    fn message(octets: usize) -> Body {
        let mut message = Message::default();
        message.tlvs.push(super::super::tlv::MESSAGE_PAYLOAD, vec![0; octets]);
        Body::SubmitSm(Box::new(message))
    }

    fn stage(answer: Result<Pdu, NoAnswer>) -> Stage {
        match answer {
            Err(NoAnswer::Broken { stage, .. }) => stage,
            other => panic!("{other:?}"),
        }
    }

    /// The other side reads nothing: the first message is stuck half way, the others never leave.
    async fn stuck(answer: Duration, limit: Duration) -> [Stage; 3] {
        let (ours, _theirs) = tokio::io::duplex(64);
        let (session, queue) = Session::new(10);
        let (reader, writer) = tokio::io::split(ours);
        let limits = Limits { answer: limit, enquire_link: Duration::from_secs(3600), most_pdu: 1024 };
        let run =
            session.run((Box::new(reader), Box::new(writer)), (queue, BytesMut::new()), limits, &Nothing);
        let run = async {
            let why = run.await;
            session.end(&why);
        };
        let ask = |octets| session.ask(message(octets), answer);
        let asks = async { tokio::join!(ask(PIECE), ask(8), ask(PIECE)) };
        let ((a, b, c), ()) = tokio::join!(asks, run);
        [stage(a), stage(b), stage(c)]
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_writer_has_not_taken_up_is_before() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(100));
        let expected = [Stage::After, Stage::Before, Stage::Before];
        // The link ends first, or the one who waits has no more time.
        assert_eq!(stuck(long, short).await, expected);
        assert_eq!(stuck(short, long).await, expected);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_written() {
        let (session, mut queue) = Session::new(1);
        assert!(timeout(Duration::ZERO, session.ask(message(1), Duration::from_secs(9))).await.is_err());
        let first = queue.0.recv().await.unwrap();
        let mut octets = BytesMut::new();
        assert!(!session.state().collect(first, &mut queue.0, &mut octets));
        assert!(octets.is_empty() && session.state().waiting.is_empty());
    }

    #[test]
    fn numbers_begin_again_and_pass_over_those_in_use() {
        let (session, _queue) = Session::new(1);
        let (done, _wait) = oneshot::channel();
        let _asked = session.wait_for(1, Waiting { answer: 0, written: false, done }).unwrap();
        let mut state = session.state();
        state.last = LAST_SEQUENCE - 1;
        assert_eq!([state.next(), state.next(), state.next()], [LAST_SEQUENCE, 2, 3]);
        drop(state);
    }
}
