//! Identical calls in flight.

use std::sync::Mutex;

use super::*;
use crate::call::Watch;

/// Hears the end of a body.
struct Heard(Arc<Mutex<Vec<End>>>);

impl Watch for Heard {
    fn end(&mut self, end: &End) {
        self.0.lock().unwrap().push(*end);
    }
}

/// An inner service whose one stream the test feeds; and the count of its dropped bodies.
fn stream_bench(config: config::Cache) -> (Bench, Feed, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (feed, reply) = fed(&dropped);
    let reply = Mutex::new(Some(reply));
    let bench = Bench::with(config, move |_| {
        now(Ok(reply
            .lock()
            .unwrap()
            .take()
            .expect("one upstream call only")))
    });
    (bench, feed, dropped)
}

async fn chunk(reply: &mut Reply) -> Bytes {
    reply
        .body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_identical_calls_make_one_upstream_call() {
    let bench = Bench::new(|_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(whole(ANSWER))
        })
    });
    let tasks: Vec<_> = (0..500)
        .map(|_| tokio::spawn(bench.send(call(CHAT))))
        .collect();
    let (mut misses, mut payers) = (0, 0);
    for task in tasks {
        let reply = task.await.unwrap().unwrap();
        misses += usize::from(reply.learnt.cache == CacheStatus::Miss);
        payers += usize::from(reply.learnt.usage.is_some());
        assert_eq!(text(reply).await, ANSWER);
    }
    assert_eq!((bench.calls(), misses, payers), (1, 1, 1));
    assert_eq!(bench.store.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_up_is_not_missed() {
    let bench = Bench::new(|_| slow(|| Ok(whole(ANSWER))));
    let leader = tokio::spawn(bench.send(call(CHAT)));
    settle().await;
    let follower = tokio::spawn(bench.send(call(CHAT)));
    settle().await;
    leader.abort();
    let reply = follower.await.unwrap().unwrap();
    assert_eq!(
        (reply.learnt.cache, reply.learnt.usage),
        (CacheStatus::Coalesced, Some(USAGE)),
        "somebody books it"
    );
    assert!(!reply.headers.contains_key("set-cookie"));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_upstream_call_ends_with_the_last_caller_and_only_then() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let inner = Arc::clone(&dropped);
    let bench = Bench::new(move |_| {
        let held = Dropped(Arc::clone(&inner));
        slow(move || {
            drop(held);
            Ok(whole(ANSWER))
        })
    });
    let callers = [
        tokio::spawn(bench.send(call(CHAT))),
        tokio::spawn(bench.send(call(CHAT))),
    ];
    settle().await;
    callers[0].abort();
    settle().await;
    assert_eq!(dropped.load(SeqCst), 0);
    callers[1].abort();
    settle().await;
    assert_eq!((dropped.load(SeqCst), bench.store.in_flight()), (1, 0));
    assert_eq!(
        bench.get(call(CHAT)).await.0,
        CacheStatus::Miss,
        "nobody boards a flight that was called off"
    );
}

#[tokio::test(start_paused = true)]
async fn who_joins_in_mid_stream_gets_every_byte() {
    let (bench, feed, _) = stream_bench(config());
    let mut leader = bench.send(call(CHAT_STREAM)).await.unwrap();
    feed.send(Ok(EVENTS[0].into())).unwrap();
    feed.send(Ok(EVENTS[1].into())).unwrap();
    assert_eq!(chunk(&mut leader).await, EVENTS[0]);
    settle().await;
    let follower = bench.send(call(CHAT_STREAM)).await.unwrap();
    assert_eq!(follower.learnt.cache, CacheStatus::Coalesced);
    drop(leader);
    feed.send(Ok(EVENTS[2].into())).unwrap();
    feed.send(Ok(EVENTS[3].into())).unwrap();
    drop(feed);
    let heard = Arc::default();
    let mut body = follower.body;
    body.on_end(Heard(Arc::clone(&heard)), None);
    assert_eq!(body.collect().await.unwrap().to_bytes(), EVENTS.concat());
    assert_eq!(
        *heard.lock().unwrap(),
        [End::complete(Some(USAGE))],
        "the follower books what the leader left"
    );
    assert_eq!(bench.get(call(CHAT_STREAM)).await.0, CacheStatus::Hit);
}

#[tokio::test(start_paused = true)]
async fn usage_is_told_to_one_reader() {
    let (bench, feed, _) = stream_bench(config());
    let replies = [
        bench.send(call(CHAT_STREAM)).await.unwrap(),
        bench.send(call(CHAT_STREAM)).await.unwrap(),
    ];
    feed.send(Ok(EVENTS[0].into())).unwrap();
    drop(feed);
    let heard = Arc::default();
    for mut reply in replies {
        reply.body.on_end(Heard(Arc::clone(&heard)), None);
        text(reply).await;
    }
    assert_eq!(
        *heard.lock().unwrap(),
        [End::complete(Some(USAGE)), End::complete(None)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_reader_to_leave_ends_the_stream_and_books_it() {
    let (bench, feed, dropped) = stream_bench(config());
    let mut leader = bench.send(call(CHAT_STREAM)).await.unwrap();
    let follower = bench.send(call(CHAT_STREAM)).await.unwrap();
    feed.send(Ok(EVENTS[0].into())).unwrap();
    chunk(&mut leader).await;
    drop(follower);
    assert_eq!(dropped.load(SeqCst), 0);
    let heard = Arc::default();
    leader.body.on_end(Heard(Arc::clone(&heard)), None);
    drop(leader);
    assert_eq!(
        dropped.load(SeqCst),
        1,
        "at once, not at the task's next turn"
    );
    let used = Usage {
        exact: false,
        ..USAGE
    };
    assert_eq!(
        *heard.lock().unwrap(),
        [End {
            how: How::CallerLeft,
            usage: Some(used)
        }]
    );
    settle().await;
    assert_eq!(bench.store.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_breaks_for_all() {
    let (bench, feed, _) = stream_bench(config());
    let replies = [
        bench.send(call(CHAT_STREAM)).await.unwrap(),
        bench.send(call(CHAT_STREAM)).await.unwrap(),
    ];
    feed.send(Ok(EVENTS[0].into())).unwrap();
    feed.send(Err(BodyError("cut".into()))).unwrap();
    for mut reply in replies {
        assert_eq!(chunk(&mut reply).await, EVENTS[0]);
        assert_eq!(&*reply.body.frame().await.unwrap().unwrap_err().0, "cut");
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_keeps_its_own_deadline_and_the_shared_one_is_the_latest() {
    let bench = Bench::new(|call| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(
                call.deadline.left(Instant::now()) > Duration::from_secs(20),
                "extended by the follower"
            );
            Ok(whole(ANSWER))
        })
    });
    let hasty = Call {
        deadline: Deadline::at(Instant::now() + Duration::from_secs(2)),
        ..call(CHAT)
    };
    let leader = tokio::spawn(bench.send(hasty));
    settle().await;
    let follower = tokio::spawn(bench.send(call(CHAT)));
    let started = Instant::now();
    let error = leader.await.unwrap().unwrap_err();
    assert_eq!(
        (error.class(), error.status()),
        ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT)
    );
    assert!(started.elapsed() < Duration::from_millis(2100));
    assert_eq!(
        follower.await.unwrap().unwrap().learnt.cache,
        CacheStatus::Coalesced
    );
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_are_shared_but_not_those_about_the_leaders_key() {
    for (class, calls) in [
        (Class::ServerError, 1),
        (Class::InvalidRequest, 1),
        (Class::AuthInvalid, 2),
        (Class::QuotaExhausted, 2),
    ] {
        let shared = config::Cache {
            scope: CacheScope::Shared,
            ..config()
        };
        let bench = Bench::with(shared, move |_| slow(move || Err(failure(class))));
        let callers = [
            tokio::spawn(bench.send(by(1, CHAT))),
            tokio::spawn(bench.send(by(2, CHAT))),
        ];
        for caller in callers {
            assert_eq!(
                caller.await.unwrap().unwrap_err().failure_class(),
                Some(class)
            );
        }
        assert_eq!(bench.calls(), calls, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shapes_codings_and_refreshes_fly_alone() {
    let bench = Bench::new(|call| {
        slow(move || {
            Ok(if call.envelope.stream {
                events()
            } else {
                whole(ANSWER)
            })
        })
    });
    let mut coded = call(CHAT);
    coded
        .headers
        .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let refresh = CacheDirectives {
        no_cache: true,
        ..CacheDirectives::default()
    };
    let calls = [call(CHAT), call(CHAT_STREAM), coded, asking(CHAT, refresh)];
    let tasks = calls.map(|call| tokio::spawn(bench.send(call)));
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().learnt.cache, CacheStatus::Miss);
    }
    assert_eq!(bench.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_leaves_nobody_waiting() {
    let bench = Bench::new(|_| Box::pin(async { panic!("a defect below") }));
    assert_eq!(
        bench.send(call(CHAT)).await.unwrap_err().class(),
        "server_error"
    );
    assert_eq!(bench.store.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_is_cut_and_the_other_goes_on() {
    let (bench, feed, _) = stream_bench(config::Cache {
        max_entry_bytes: 4,
        ..config()
    });
    let mut quick = bench.send(call(CHAT_STREAM)).await.unwrap();
    let mut still = bench.send(call(CHAT_STREAM)).await.unwrap();
    for text in ["aaa", "bbb", "ccc", "ddd"] {
        feed.send(Ok(text.into())).unwrap();
    }
    drop(feed);
    let started = Instant::now();
    assert_eq!(chunk(&mut quick).await, "aaa");
    assert_eq!(chunk(&mut quick).await, "bbb");
    settle().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(text(quick).await, "cccddd");
    assert!(
        started.elapsed() >= Duration::from_secs(30),
        "it waited for the slow one first"
    );
    assert!(still.body.frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_single_slow_reader_sets_the_pace_and_loses_nothing() {
    let (bench, feed, _) = stream_bench(config::Cache {
        max_entry_bytes: 4,
        ..config()
    });
    let mut reply = bench.send(call(CHAT_STREAM)).await.unwrap();
    for text in ["aaa", "bbb", "ccc", "ddd"] {
        feed.send(Ok(text.into())).unwrap();
    }
    drop(feed);
    let mut all = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(100)).await;
        all.extend_from_slice(&chunk(&mut reply).await);
    }
    assert_eq!(all, b"aaabbbcccddd");
    assert!(reply.body.frame().await.is_none());
}
