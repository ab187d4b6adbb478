//! What holds whatever the order of events.

use std::{collections::BTreeMap, task::Waker};

use proptest::prelude::*;

use super::*;
use crate::stage::cache::{
    flight::{Flight, Flights, Next, Room},
    key::{FlightKey, Key, Shape},
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Join,
    /// The nth reader, counted round.
    Read(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Push),
        1 => Just(Step::Join),
        4 => (0..8usize).prop_map(Step::Read),
        1 => (0..8usize).prop_map(Step::Leave),
    ]
}

fn on_paused_clock<T>(test: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { test() })
}

/// Random JSON with a member order of its own.
fn json() -> impl Strategy<Value = BTreeMap<String, u32>> {
    proptest::collection::btree_map("[a-z]{1,8}", any::<u32>(), 1..8)
}

fn spelled<'a>(members: impl Iterator<Item = (&'a String, &'a u32)>, space: &str) -> String {
    let members: Vec<_> = members
        .map(|(k, v)| format!("\"{k}\"{space}:{v}"))
        .collect();
    format!("{{{}}}", members.join(&format!("{space},")))
}

fn key_of(body: &str) -> Option<Key> {
    Key::of(&call(body), CacheScope::Credential)
}

proptest! {
    /// Readers that are seated see every byte once and in order, and memory stays bounded by the slowest of them.
    #[test]
    fn every_reader_sees_every_byte_in_order(steps in proptest::collection::vec(step(), 0..200), max in 1..20usize) {
        on_paused_clock(|| {
            let cx = Context::from_waker(Waker::noop());
            let flights = Flights::new();
            let call = Arc::new(call(CHAT));
            let key = FlightKey::of(Key::of(&call, CacheScope::Shared).unwrap(), &call, Shape::Stream);
            let leader = flights.board(key, &call, max, || None::<()>).unwrap();
            let flight = Arc::clone(leader.flight());
            let mut readers = vec![(leader, Vec::new())];
            let mut sent = Vec::new();
            for step in steps {
                match step {
                    Step::Push(byte) if flight.poll_room(&cx) == Poll::Ready(Room::Yes) => {
                        sent.push(byte);
                        let held = flight.push(Bytes::copy_from_slice(&[byte]));
                        assert_eq!(held.all, sent.len() <= max);
                        assert_eq!(flight.all_chunks().is_some(), held.all);
                        let slowest = readers.iter().map(|(_, read)| read.len()).min();
                        assert!(slowest.is_none_or(|read| sent.len() - read <= max + 1), "further ahead than allowed");
                    }
                    Step::Join => {
                        let seat = flights.board(key, &call, max, || Some(())).ok();
                        assert_eq!(seat.is_some(), sent.len() <= max && !readers.is_empty());
                        readers.extend(seat.map(|seat| (seat, Vec::new())));
                    }
                    Step::Read(n) if !readers.is_empty() => {
                        let n = n % readers.len();
                        let (seat, read) = &mut readers[n];
                        match seat.poll_next(&cx) {
                            Poll::Ready(Next::Chunk(chunk)) => read.extend_from_slice(&chunk),
                            Poll::Pending => assert_eq!(*read, sent),
                            Poll::Ready(other) => panic!("{other:?}"),
                        }
                        assert_eq!(&sent[..read.len()], &read[..]);
                    }
                    Step::Leave(n) if !readers.is_empty() => {
                        let n = n % readers.len();
                        drop(readers.remove(n));
                    }
                    Step::Push(_) | Step::Read(_) | Step::Leave(_) => {}
                }
            }
            flight.end(End::complete(Some(USAGE)), None);
            let mut told = 0;
            for (seat, mut read) in readers.drain(..) {
                loop {
                    match seat.poll_next(&cx) {
                        Poll::Ready(Next::Chunk(chunk)) => read.extend_from_slice(&chunk),
                        Poll::Ready(Next::End(end)) => break told += usize::from(end.usage.is_some()),
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(read, sent);
            }
            assert!(told <= 1, "booked once at most");
        });
    }

    #[test]
    fn order_and_space_do_not_change_a_key_and_values_do(members in json(), space in " {0,3}", more in 1..1000u32) {
        on_paused_clock(|| {
            let key = key_of(&spelled(members.iter(), ""));
            assert!(key.is_some());
            assert_eq!(key, key_of(&spelled(members.iter().rev(), &space)));
            let mut other = members.clone();
            let first = other.values_mut().next().unwrap();
            *first = first.wrapping_add(more);
            let ignored = ["user", "metadata", "stream"].contains(&members.keys().next().unwrap().as_str());
            assert_eq!(ignored, key == key_of(&spelled(other.iter(), &space)));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_pays_or_else_one_who_stays() {
    let cx = Context::from_waker(Waker::noop());
    let call = Arc::new(call(CHAT));
    let flights = Flights::new();
    let key = FlightKey::of(
        Key::of(&call, CacheScope::Shared).unwrap(),
        &call,
        Shape::Stream,
    );
    let mut seats: Vec<_> = (0..3)
        .map(|_| flights.board(key, &call, 9, || None::<()>).unwrap())
        .collect();
    seats[0].flight().end(End::complete(Some(USAGE)), None);
    drop(seats.remove(0));
    let usages = seats.iter().map(|seat| match seat.poll_next(&cx) {
        Poll::Ready(Next::End(end)) => end.usage,
        other => panic!("{other:?}"),
    });
    assert_eq!(usages.collect::<Vec<_>>(), [Some(USAGE), None]);
}

#[tokio::test(start_paused = true)]
async fn a_flight_without_passengers_is_called_off_at_once() {
    let seat = Flight::led_by(&Arc::new(call(CHAT)), 9);
    let flight = Arc::clone(seat.flight());
    drop(seat);
    let called = Arc::new(AtomicUsize::new(0));
    let dropped = Dropped(Arc::clone(&called));
    flight.runs_on(Box::new(move || {
        drop(dropped);
        None
    }));
    assert_eq!(called.load(SeqCst), 1);
    assert_eq!(
        flight.poll_room(&Context::from_waker(Waker::noop())),
        Poll::Ready(Room::Deserted)
    );
}
