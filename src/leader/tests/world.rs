//! Several candidates in one world, and what can happen to them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{held, ms};
use crate::leader::candidate::{Candidate, Claim, Next, Record};

/// Random numbers that a seed brings back.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// Several candidates in one world: their clocks differ in what they show and in how fast they go,
/// messages are late or lost, and processes stop, go on, end and die.
struct World {
    random: Random,
    start: Instant,
    /// In milliseconds.
    now: u64,
    lease: Record,
    peers: Vec<Peer>,
    /// By when it happens, and a number that keeps the order.
    events: BTreeMap<(u64, u64), Event>,
    numbers: u64,
    calm: bool,
    terms: usize,
}

struct Peer {
    identity: String,
    candidate: Candidate,
    /// What its clock was ahead in the beginning.
    ahead: u64,
    /// In thousandths of the true rate.
    rate: u64,
    /// The number of its request under way.
    waits: Option<u64>,
    stopped_until: u64,
    /// What it was shown last, for a watch keeps its order.
    shown_at: u64,
}

#[derive(Clone)]
enum Request {
    Read,
    Claim(Claim),
}

#[derive(Clone)]
enum Event {
    Look(usize),
    Arrives(usize, u64, Request, Instant),
    Answer(usize, u64, Request, Instant, Result<Record, ()>),
    /// When it was sent, if it was a claim.
    TimedOut(usize, u64, Option<Instant>),
    Shown(usize, Record),
    Mischief,
}

/// What a claim of this number writes into the Lease.
fn time_of(number: u64) -> String {
    format!("claim {number}")
}

impl World {
    fn new(seed: u64) -> Self {
        let start = Instant::now() + Duration::from_secs(1_000_000);
        let mut random = Random(seed);
        let peers = (0..3).map(|it| Peer {
            identity: format!("peer-{it}"),
            candidate: Candidate::new(format!("peer-{it}"), start),
            ahead: random.below(900_000_000),
            rate: 880 + random.below(240),
            waits: None,
            stopped_until: 0,
            shown_at: 0,
        });
        let peers = peers.collect();
        let mut world = Self {
            random,
            start,
            now: 0,
            lease: held(1, ""),
            peers,
            events: BTreeMap::new(),
            numbers: 0,
            calm: false,
            terms: 0,
        };
        (0..3).for_each(|it| world.at(0, Event::Look(it)));
        world.at(1000, Event::Mischief);
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.numbers += 1;
        self.events
            .insert((time.max(self.now), self.numbers), event);
    }

    /// What a peer's clock shows.
    fn clock(&self, peer: usize) -> Instant {
        let Peer { ahead, rate, .. } = self.peers[peer];
        self.start + ms(ahead + self.now * rate / 1000)
    }

    /// When a peer's clock shows this.
    fn true_time(&self, peer: usize, shown: Instant) -> u64 {
        let Peer { ahead, rate, .. } = self.peers[peer];
        let since = shown.saturating_duration_since(self.start + ms(ahead));
        u64::try_from(since.as_millis()).expect("not so long") * 1000 / rate + 1
    }

    fn delay(&mut self) -> u64 {
        let most = if self.calm || !self.random.one_in(4) {
            20
        } else {
            3000
        };
        1 + self.random.below(most)
    }

    fn run(&mut self, until: u64) {
        while let Some(first) = self.events.first_entry() {
            let (time, _) = *first.key();
            if time > until {
                break;
            }
            let event = first.remove();
            self.now = time;
            if let Some(peer) = self.stopped(&event) {
                let later = self.peers[peer].stopped_until;
                self.at(later, event);
            } else {
                self.happen(event);
                assert!(self.leaders().len() <= 1, "two lead at {time}");
            }
        }
        self.now = until;
    }

    /// The peer that this would happen to, if it is stopped.
    fn stopped(&self, event: &Event) -> Option<usize> {
        let (Event::Look(peer)
        | Event::Answer(peer, ..)
        | Event::TimedOut(peer, ..)
        | Event::Shown(peer, _)) = event
        else {
            return None;
        };
        (self.peers[*peer].stopped_until > self.now).then_some(*peer)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Look(peer) => self.look(peer),
            Event::Arrives(peer, number, request, sent) => {
                self.arrives(peer, number, request, sent)
            }
            Event::Answer(peer, number, request, sent, answer) => {
                if self.peers[peer].waits == Some(number) {
                    self.peers[peer].waits = None;
                    self.answered(peer, request, sent, answer);
                    self.look(peer);
                }
            }
            Event::TimedOut(peer, number, claimed) => {
                if self.peers[peer].waits == Some(number) {
                    self.peers[peer].waits = None;
                    let now = self.clock(peer);
                    let candidate = &mut self.peers[peer].candidate;
                    if let Some(sent) = claimed {
                        candidate.not_heard(time_of(number), sent);
                    }
                    candidate.failed(false, now);
                    self.look(peer);
                }
            }
            Event::Shown(peer, record) => {
                let now = self.clock(peer);
                self.peers[peer].candidate.saw(Some(record), now);
                self.look(peer);
            }
            Event::Mischief => self.mischief(),
        }
    }

    fn look(&mut self, peer: usize) {
        if self.peers[peer].waits.is_some() {
            return;
        }
        let sent = self.clock(peer);
        let request = match self.peers[peer].candidate.next(sent) {
            Next::Wait(until) => {
                let time = self.true_time(peer, until);
                return self.at(time, Event::Look(peer));
            }
            Next::Read => Request::Read,
            Next::Claim(claim) => Request::Claim(claim),
        };
        let claimed = matches!(request, Request::Claim(_)).then_some(sent);
        let number = self.numbers;
        self.peers[peer].waits = Some(number);
        let arrival = self.now + self.delay();
        if self.calm || !self.random.one_in(10) {
            self.at(arrival, Event::Arrives(peer, number, request, sent));
        }
        self.at(self.now + 1750, Event::TimedOut(peer, number, claimed));
    }

    fn arrives(&mut self, peer: usize, number: u64, request: Request, sent: Instant) {
        let answer = match &request {
            Request::Read => Ok(self.lease.clone()),
            Request::Claim(claim) if claim.version == self.lease.version => {
                let transitions = claim.transitions.unwrap_or(self.lease.transitions);
                let holder = self.peers[peer].identity.clone();
                self.store(Record {
                    transitions,
                    times: [None, Some(time_of(number))],
                    ..held(self.lease.place + 1, &holder)
                });
                Ok(self.lease.clone())
            }
            Request::Claim(_) => Err(()),
        };
        if self.calm || !self.random.one_in(10) {
            let time = self.now + self.delay();
            self.at(time, Event::Answer(peer, number, request, sent, answer));
        }
    }

    fn store(&mut self, record: Record) {
        self.lease = record;
        for peer in 0..self.peers.len() {
            let time = (self.now + self.delay()).max(self.peers[peer].shown_at);
            self.peers[peer].shown_at = time;
            if self.calm || !self.random.one_in(5) {
                self.at(time, Event::Shown(peer, self.lease.clone()));
            }
        }
    }

    fn answered(
        &mut self,
        peer: usize,
        request: Request,
        sent: Instant,
        answer: Result<Record, ()>,
    ) {
        let now = self.clock(peer);
        let candidate = &mut self.peers[peer].candidate;
        match (request, answer) {
            (Request::Read, Ok(record)) => {
                candidate.read(Some(record), now);
            }
            (Request::Claim(claim), Ok(record)) => {
                let before = candidate.term().at(now);
                candidate.claimed(&claim, record, sent, now);
                self.terms += usize::from(before != candidate.term().at(now));
            }
            (_, Err(())) => candidate.failed(true, now),
        }
    }

    fn leaders(&self) -> Vec<usize> {
        let leads = |it: &usize| {
            self.peers[*it]
                .candidate
                .term()
                .at(self.clock(*it))
                .is_some()
        };
        (0..self.peers.len()).filter(leads).collect()
    }

    fn mischief(&mut self) {
        if self.calm {
            return;
        }
        let peer = usize::try_from(self.random.below(3)).expect("a small number");
        let holds = self.lease.holder == self.peers[peer].identity;
        match self.random.below(3) {
            0 => self.peers[peer].stopped_until = self.now + self.random.below(12_000),
            1 if holds && self.peers[peer].waits.is_none() => {
                self.starts_anew(peer);
                self.store(held(self.lease.place + 1, ""));
            }
            1 => self.starts_anew(peer),
            _ => {
                // Somebody annotates it.
                let place = self.lease.place + 1;
                let version = place.to_string();
                let lease = self.lease.clone();
                self.store(Record {
                    version,
                    place,
                    ..lease
                });
            }
        }
        let next = self.now + 500 + self.random.below(8000);
        self.at(next, Event::Mischief);
    }

    /// As another process, which knows nothing of the one before.
    fn starts_anew(&mut self, peer: usize) {
        let now = self.clock(peer);
        let identity = format!("peer-{peer}-{}", self.numbers);
        let it = &mut self.peers[peer];
        it.candidate = Candidate::new(identity.clone(), now);
        it.identity = identity;
        it.waits = None;
        self.at(self.now, Event::Look(peer));
    }
}

#[test]
fn two_never_lead_at_once_whatever_happens_to_clocks_messages_and_processes() {
    let mut terms = 0;
    for seed in 0..400 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.run(300_000);
        world.calm = true;
        world.run(330_000);
        assert_eq!(world.leaders().len(), 1, "one leads when all is well");
        terms += world.terms;
    }
    println!("{terms} terms");
    assert!(terms > 4000, "only {terms}");
}
