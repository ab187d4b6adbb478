//! Turns, lanes, shares, bounds.

use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::*;

const fn cost(tokens: u64) -> Cost {
    Cost {
        requests: 1,
        tokens,
        input: 0,
        output: 0,
        images: 0,
        certain: 0,
    }
}

fn push(queue: &mut Queue<u32>, app: &str, weight: u32, lane: Lane, tokens: u64, n: u32) -> Seat {
    let now = Instant::now();
    let who = queue.seen(app, weight, lane, now);
    queue.push((who, lane), (cost(tokens), tokens as f64), n, now)
}

/// The next one goes, and is charged.
fn serve(queue: &mut Queue<u32>) -> Option<(u32, Standing)> {
    let now = Instant::now();
    let front = queue.front(now)?;
    let (taken, n) = queue.pop(front, now).unwrap();
    let app = AppRef::at(queue, front.seat.at.0);
    queue.charge(app, front.seat.at.1, taken.tokens as f64, now);
    Some((n, front.standing))
}

fn order(queue: &mut Queue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| serve(queue).map(|(n, _)| n)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_apps_calls_go_in_the_order_of_their_arrival() {
    let mut queue = Queue::new(Instant::now());
    for n in 0..50 {
        push(
            &mut queue,
            "shop",
            1,
            Lane::Interactive,
            u64::from(n % 7 + 1) * 100,
            n,
        );
    }
    assert_eq!(order(&mut queue), (0..50).collect::<Vec<_>>());
    assert!(queue.is_empty() && queue.apps() == 0);
}

#[tokio::test(start_paused = true)]
async fn apps_with_a_backlog_share_by_weight_whatever_their_calls_cost() {
    let mut queue = Queue::new(Instant::now());
    // Each with enough waiting: weights 1, 2, 4; calls of 1000, 300, 50 tokens.
    let apps = [("a", 1, 1_000, 200), ("b", 2, 300, 400), ("c", 4, 50, 800)];
    for (n, (app, weight, tokens, calls)) in apps.iter().enumerate() {
        for _ in 0..*calls {
            push(
                &mut queue,
                app,
                *weight,
                Lane::Interactive,
                *tokens,
                n as u32,
            );
        }
    }
    let mut got = [0.0; 3];
    while got.iter().sum::<f64>() < 60_000.0 {
        let (n, _) = serve(&mut queue).unwrap();
        got[n as usize] += apps[n as usize].2 as f64;
    }
    let all: f64 = got.iter().sum();
    for (got, share) in got.iter().zip([1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0]) {
        assert!((got / all - share).abs() < 0.04, "{got} of {all}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_greedy_app_beside_nine_polite_ones_gets_a_tenth() {
    let mut queue = Queue::new(Instant::now());
    // 50 connections beside two each; who is served calls again at once.
    let names: Vec<_> = (0..10).map(|n| format!("app-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        for _ in 0..if n == 0 { 50 } else { 2 } {
            push(&mut queue, name, 1, Lane::Interactive, 500, n as u32);
        }
    }
    let mut got = [0.0_f64; 10];
    for _ in 0..3_000 {
        let (n, _) = serve(&mut queue).unwrap();
        got[n as usize] += 500.0;
        advance(Duration::from_millis(20)).await;
        push(&mut queue, &names[n as usize], 1, Lane::Interactive, 500, n);
    }
    let (sum, squares) = (
        got.iter().sum::<f64>(),
        got.iter().map(|x| x * x).sum::<f64>(),
    );
    let jain = sum * sum / (10.0 * squares);
    assert!(jain >= 0.95, "{jain}: {got:?}");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_asks_for_little_goes_before_a_backlog() {
    let mut queue = Queue::new(Instant::now());
    for n in 0..100 {
        push(&mut queue, "greedy", 1, Lane::Interactive, 100, n);
    }
    for _ in 0..10 {
        serve(&mut queue).unwrap();
    }
    push(&mut queue, "polite", 1, Lane::Interactive, 100, 1_000);
    assert_eq!(serve(&mut queue), Some((1_000, Standing::First)));
    // The greedy one has taken more than its half, and somebody else calls.
    assert_eq!(serve(&mut queue), Some((10, Standing::Common)));
    // Alone again, it may take all.
    advance(Duration::from_secs(11)).await;
    let now = Instant::now();
    let who = queue.seen("greedy", 1, Lane::Interactive, now);
    assert_eq!(queue.standing(who, Lane::Interactive, now), Standing::First);
}

#[tokio::test(start_paused = true)]
async fn batch_waits_for_interactive_calls_until_it_has_aged() {
    let mut queue = Queue::new(Instant::now());
    for n in 0..3 {
        push(&mut queue, "bulk", 1, Lane::Batch, 100, n);
    }
    for n in 100..103 {
        push(&mut queue, "chat", 1, Lane::Interactive, 100, n);
    }
    assert_eq!(order(&mut queue), [100, 101, 102, 0, 1, 2]);

    push(&mut queue, "bulk", 1, Lane::Batch, 100, 0);
    advance(AGEING / 2).await;
    push(&mut queue, "bulk", 1, Lane::Batch, 100, 1);
    for n in 100..120 {
        push(&mut queue, "chat", 1, Lane::Interactive, 100, n);
    }
    assert_eq!(
        queue.front(Instant::now()).unwrap().standing,
        Standing::First
    );
    advance(AGEING / 2).await;
    let order = order(&mut queue);
    let at = |n: u32| order.iter().position(|x| *x == n).unwrap();
    assert!(at(0) <= 6, "the aged one has its turn: {order:?}");
    assert_eq!(at(1), 21, "the other one is not aged: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn batch_takes_only_what_others_leave() {
    let mut queue = Queue::<u32>::new(Instant::now());
    let now = Instant::now();
    let bulk = queue.seen("bulk", 1, Lane::Batch, now);
    assert_eq!(queue.standing(bulk, Lane::Batch, now), Standing::First);
    // An interactive call, even of the same app.
    queue.seen("bulk", 1, Lane::Interactive, now);
    assert_eq!(queue.standing(bulk, Lane::Batch, now), Standing::Last);
}

#[tokio::test(start_paused = true)]
async fn the_newest_batch_call_is_found_and_who_leaves_is_gone() {
    let mut queue = Queue::new(Instant::now());
    push(&mut queue, "a", 1, Lane::Batch, 1, 0);
    let second = push(&mut queue, "b", 1, Lane::Batch, 1, 1);
    push(&mut queue, "a", 1, Lane::Interactive, 1, 2);
    assert_eq!(queue.newest_batch(), Some(second));
    assert_eq!(queue.remove(second), Some(1));
    assert_eq!(queue.remove(second), None);
    assert_eq!((queue.len(), queue.batch(), queue.apps()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_goes_before_a_new_call_is_known() {
    let mut queue = Queue::new(Instant::now());
    let now = Instant::now();
    for n in 0..10 {
        push(&mut queue, "greedy", 1, Lane::Interactive, 100, n);
    }
    for _ in 0..5 {
        serve(&mut queue).unwrap();
    }
    let greedy = queue.find("greedy");
    let ahead = |queue: &Queue<u32>, who, lane| queue.ahead(who, lane, 100.0, now).tokens;
    assert_eq!(ahead(&queue, greedy, Lane::Interactive), 500);
    let stranger = queue.find("stranger");
    assert!(ahead(&queue, stranger, Lane::Interactive) <= 500);
    assert_eq!(ahead(&queue, stranger, Lane::Batch), 500);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_apps_are_not_all_remembered() {
    let mut queue = Queue::<u32>::new(Instant::now());
    for n in 0..10_000 {
        let lane = if n % 3 == 0 {
            Lane::Batch
        } else {
            Lane::Interactive
        };
        let who = queue.seen(&format!("app-{n}"), 1, lane, Instant::now());
        queue.charge(who, lane, 10.0, Instant::now());
    }
    assert!(queue.remembered() <= shares::MOST, "{}", queue.remembered());
    advance(Duration::from_secs(20)).await;
    queue.seen("one", 1, Lane::Interactive, Instant::now());
    assert_eq!(queue.remembered(), 1);
}

/// The most that queues can hold, by their bounds: 10,000 apps at 50 targets are no more than that.
#[test]
fn fifty_targets_stay_under_64_mib_whoever_calls() {
    type Waiter = crate::limits::waiter::Waiting;
    // An app, its name and its entry among the names; half of the table may be empty.
    let app = size_of::<shares::App<Flow<Waiter>>>() + 96 + 2 * 24 + 8;
    // In a line of its own; and where it finds its turn.
    let waiting = size_of::<Item<Waiter>>() + size_of::<crate::limits::waiter::Cell>() + 16;
    // When it gives up, in a tree whose nodes are half full.
    let waiting = waiting + 2 * size_of::<(Instant, Seat)>();
    let all = 50 * shares::MOST * app + crate::limits::patience::MOST_IN_ALL * waiting;
    assert!(all < 64 << 20, "{} MiB", all >> 20);
}

#[derive(Clone, Debug)]
enum Act {
    Push(usize, bool, u64),
    Serve,
    Leave(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..6_usize, any::<bool>(), 1..5_000_u64).prop_map(|(a, b, c)| Act::Push(a, b, c)),
        3 => Just(Act::Serve),
        1 => (0..100_usize).prop_map(Act::Leave),
        1 => (0..15_000_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Everybody who came is served once or has left; within an app and lane in order; a seat that is taken is nobody else's.
    #[test]
    fn nobody_is_lost_or_served_twice(acts in prop::collection::vec(act(), 1..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut queue = Queue::new(Instant::now());
            let mut seats: Vec<(Seat, u32, usize, bool)> = Vec::new();
            let mut came = 0;
            for act in acts {
                match act {
                    Act::Push(app, batch, tokens) => {
                        let lane = if batch { Lane::Batch } else { Lane::Interactive };
                        let seat = push(&mut queue, &format!("app-{app}"), app as u32 + 1, lane, tokens, came);
                        seats.push((seat, came, app, batch));
                        came += 1;
                    }
                    Act::Serve => {
                        let Some((n, _)) = serve(&mut queue) else {
                            prop_assert!(seats.is_empty());
                            continue;
                        };
                        let at = seats.iter().position(|(_, other, ..)| *other == n);
                        prop_assert!(at.is_some(), "{n} was not waiting");
                        let (_, n, app, batch) = seats.remove(at.unwrap());
                        let earlier = seats.iter().any(|(_, other, a, b)| (*a, *b) == (app, batch) && *other < n);
                        prop_assert!(!earlier, "overtaken within an app");
                    }
                    Act::Leave(at) if !seats.is_empty() => {
                        let at = at % seats.len();
                        let (seat, n, ..) = seats.remove(at);
                        prop_assert_eq!(queue.remove(seat), Some(n));
                    }
                    Act::Leave(_) => {}
                    Act::Pass(ms) => advance(Duration::from_millis(ms)).await,
                }
                prop_assert_eq!(queue.len(), seats.len());
                prop_assert_eq!(queue.batch(), seats.iter().filter(|(.., batch)| *batch).count());
                prop_assert_eq!(queue.iter().count(), seats.len());
            }
            while serve(&mut queue).is_some() {}
            prop_assert!(queue.is_empty());
            Ok(())
        })?;
    }
}
